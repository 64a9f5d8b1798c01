"""What is said to customer support: bills, deliveries, accounts, broken things, cancellations, and the rest."""

from __future__ import annotations

from convoforge.simulator.grammar import pairs
from convoforge.simulator.phrases import Domain, begins, theme

BILLING = theme(
    "bill|refund|charg|invoice|pric|pay|fee|overcharg",
    problems="""
    - I was charged {bill} twice for order {order}, and the [second|extra] payment [is still on my statement|has not come back]
      [after {days} days|].
    - My [bill|invoice] for {month} is {bill} [higher|more] than [agreed|usual], [and|but] nothing [on it|in it] explains [why|the
      difference].
    - I [sent|returned] the {item} {days} days ago, and the refund of {bill} [was promised|should have come] [by {weekday}|last
      week].
    - A [fee|charge] of {bill} appeared {when}, [called|labelled] "service", and I [never|certainly never] [agreed|signed up] to
      [it|anything like that].
    - The [discount|voucher] [I was promised|from {month}] is missing on order {order}, which [makes|is] a difference of {bill}.
    """,
    questions="""
    - Could you tell me the [last four|final] digits of order {order}'s [invoice|receipt], and the date of the charge? => The
      receipt [ends in|ends with] 00{few}{few}, [dated|from] {weekday}. The [second charge|other one] came [a minute|{few} hours]
      later.
    - How did you pay, by card, by direct debit or through [an app|a wallet]? => By card, [the same|the one] I have used for
      {years} months. My bank [says it is settled|shows both as final], not pending.
    - Have you [received|had] any e-mail from us about [it|this refund] since? => [One|Only one], on {weekday}, [that said|saying]
      "we are looking into it". [Nothing|Silence] [since|for {days} days].
    - Would you [like|prefer] the money back on the card or as credit? => On the card, please. I have [no use|little use] for
      {bill} of credit when [rent is due|I am about to cancel].
    """,
    explanations="""
    - I can see [both|two] payments [on my side|here]. The first one timed out, the [shop|system] tried again, and both went
      through. [The fault is ours|That is on us], not your bank's.
    - The {bill} [come|comes] from a change of plan in {month} that was billed for the full month [instead of|rather than] the
      remaining {days} days.
    - Our side released the refund on {weekday}. Banks then [take|need] three to five working days, and [a weekend|the holiday]
      [falls|fell] in between, so it is [late but not lost|slow rather than gone].
    - The voucher was [valid|fine], but it was [attached to|saved under] the basket before you [changed|swapped] the {item}. [The
      checkout|It] dropped it without [a warning|saying so], which it [should not|must not].
    """,
    concepts="""
    - What is the difference between a pending and a [settled|final] charge? My bank [uses both words|shows one of each]. =>
      Pending means the money is [reserved|set aside] and can still [vanish|fall away] by itself, usually within {days} days.
      Settled means we have it, and only a refund from us sends it back.
    - Should I [dispute it|ask for a chargeback] with my bank [as well|at the same time]? => Please hold that for {days} days. A
      dispute freezes the payment, and then our refund [cannot be sent|bounces]. If we [miss|break] the date, [do it|you have
      every right].
    - Why [can|could] you not [just|simply] send it [today|right now]? => I can release it today, and I [have|will]. The [card
      network|bank] moves it in batches at night, so [no one|nobody] on either side can see it before {weekday}.
    """,
    steps="""
    - I [release|have released] the refund of {bill} under reference {ticket}, [while we speak|today]
    - I [note|have noted] on order {order} that the second charge was our error, so [nobody asks you again|you need not explain it
      twice]
    - please check your statement on {weekday}, as it shows up under [our legal|the parent company's] name
    - I take [the fee|that service fee] off the [next|{month}] invoice as well
    - if nothing arrived after {days} days, answer this message and it [goes|comes] straight to [my desk|my team lead]
    - I [add|put] the lost discount back as a [separate|second] credit, which [needs|asks] nothing from you
    """,
)

DELIVERY = theme(
    "deliver|ship|parcel|package|order|late|delay|courier|lost|track|missing|dispatch|wrong item",
    problems="""
    - My {item}, order {order}, was [due on|promised for] {weekday}, and the tracking page has [not moved|shown the same line] for
      {days} days.
    - The courier [says|claims] the {item} was [handed over|left at the door] {when}. It was not, and [I was home all
      day|{partner} was in].
    - I ordered [two things|a {item} and its case] in {month}, [one arrived|half of it came], and order {order} is marked as
      complete [all the same|anyway].
    - The [box|parcel] came {days} days late and [crushed|wet], with the {item} [rattling|loose] inside.
    - I [need|needed] the {item} [for {relative}'s birthday|before I travel on {weekday}], and now [the page says|it says]
      "delayed" without a date.
    """,
    questions="""
    - Can you confirm the [street|address] and whether [a neighbour|the porter] may have taken it? => The address is
      [right|correct], I checked it twice. I [asked|called] {few} neighbours, and [nobody|no one] has seen [it|a parcel].
    - What is the last [line|status] on the tracking page, word for word? => "In transit, depot", since {weekday}. Before that it
      [jumped|went] back and forth [twice|{few} times].
    - Did the carton look opened, and do you still have it? => [The tape|One corner] was [torn|open], and I kept [all of it|the
      whole box]. I [took|have] {few} photos too.
    - By when do you need it [at the latest|in your hands]? => By {weekday}, [really|no later]. After that it is [useless to
      me|too late for {relative}], and I would [rather have|want] the {bill} back.
    """,
    explanations="""
    - The parcel missed a scan at the depot on {weekday}. [In most cases|Usually] it is found within {few} days, but [you should
      not|nobody should] have to [bet|wait] on that.
    - The [scan|record] shows a delivery {when} at a spot [some|a few] streets from yours. That [looks|reads] like a wrong door,
      and [the courier|they] must [collect|fetch] it, not you.
    - Order {order} was split between two warehouses, and the second half was [never|not] [booked|handed over]. The page shows
      "complete" because [it only counts|it looks at] the first half.
    - Damage in transit is ours to [carry|put right]. You do not need to [prove|show] anything beyond [a photo|the photos], and
      you [keep|need not return] the broken {item} until [we ask|I say so].
    """,
    concepts="""
    - What does "in transit" [mean|really mean] when [nothing moves|it stays the same] for {days} days? => Only that the last scan
      was at a depot. It [says nothing|tells us nothing] about where the parcel is now; [two|{few}] days without a new scan is
      when we [start|open] a search.
    - Why does it [matter|make a difference] who [opens|starts] the search, you or me? => The sender is the courier's customer.
      When we [open|start] it, they [must|have to] answer in {days} days; when you do, they [may|can] just [refer you back|point
      at us].
    - Can I [change|still change] the address [while it is on its way|now]? => Not safely. A change after the depot adds {few}
      days and is [often|sometimes] missed. Sending a new one [to the new address|there] is faster.
    """,
    steps="""
    - I [open|have opened] a search with the courier under {ticket}, with your photos attached
    - I [send|have ordered] a new {item} today by express, which [reaches|should reach] you by {weekday}
    - you need not sign or pay anything; [the driver|they] will call [an hour|thirty minutes] before
    - if the first parcel turns up after all, [refuse it|leave it at the door] and we collect it
    - I refund the delivery fee, [as it bought nothing|since that part failed]
    - should {weekday} pass without a parcel, the {bill} goes back to your card without [a further|another] question
    """,
)

ACCESS = theme(
    "account|login|log in|password|access|lock|secur|hack|phish|verif|two-factor|2fa|identity|fraud|priva",
    problems="""
    - I am locked out of my account since {weekday}, and the reset [mail|link] [never arrives|arrives expired].
    - I [got|received] a [message|mail] about a new [device|login] {when} that was not [me|mine], and an order of {bill} I never
      made.
    - I [changed|lost] my phone in {month}, and now the code for the second step goes to [the old one|a number I no longer have].
    - My account [shows|has] the wrong name since {month}, and [each|every] [form|check] [refuses|rejects] my papers.
    - [Somebody|Someone] changed the e-mail on my account {when}, and I can only [watch|see] order {order} from [the old receipt|a
      bookmark].
    """,
    questions="""
    - When could you last get in, and on which device? => On {weekday}, [on the laptop|at work]. The phone [asks|kept asking] for
      a code [since then|ever since], and [none|no code] comes.
    - Do you still read the [old|registered] e-mail address? => [Yes|I do], it is [mine|the same] for {years} years. [Your
      messages|Mails from you] land in no folder, I [checked|looked in] spam [too|twice].
    - Have you [used|entered] that password anywhere else? => [I am afraid so|Yes], on [two|{few}] other sites. One of them
      [had|wrote about] a [leak|breach] in {month}.
    - Which part of the check failed, the document or the photo? => The document. It [says|said] "name does not match" [each
      time|{few} times], and I was [then shut out|blocked] for {days} hours.
    """,
    explanations="""
    - After {few} wrong tries the account locks itself for a day. [Each|Every] new try starts the day again, which is why it
      [feels|looks] permanent.
    - The reset mail is sent, but your provider [holds|rejects] it because our sender changed in {month}. [Adding us|Putting our
      address] to the contacts [lets it through|solves that].
    - The login came from [a place|a city] you have never used, and [right after|minutes after] it the order for {bill} was
      placed. I treat [this|it] as [a takeover|theft], and none of [that|it] is yours to pay.
    - The code goes to the number we [hold|have on file]. We cannot [simply|just] swap it on request, since that is [exactly|just]
      what a thief would ask [for|us].
    """,
    concepts="""
    - Is [a code by text message|text message] [safe enough|good enough], or should I use an app? => An app is better: a phone
      number can be [moved|stolen] by [a phone call|someone persuasive], an app cannot. [Print|Write down] the {few} backup codes,
      and [keep|put] them away from the phone.
    - How do I [tell|know] a real message of yours from a [fake|false] one? => We never ask for a password or a code, in any
      channel. [When unsure|If in doubt], close the message and type our address [yourself|by hand].
    - What happens to my [orders|data] while the account is [locked|frozen]? => Nothing is [deleted|lost]. Order {order} and your
      history wait as they are; only logins and payments are [stopped|blocked] for up to {days} days.
    """,
    steps="""
    - I [freeze|have frozen] the account now, so that nobody can [order|log in]
    - I [cancel|have cancelled] the order of {bill}, and the money [goes back|returns] by {weekday}
    - please take a photo of your identity card with the number {ticket} on a slip of paper beside it
    - once that is checked, within {few} hours, you [get|receive] a link that [works|is good] for thirty minutes
    - choose a password you use nowhere else, and set up the [code|authenticator] app [straight away|in the same minute]
    - change the password of your mailbox first, since [whoever|anybody who] has that can undo the rest
    """,
)

FAULT = theme(
    "defect|broken|fault|technical|outage|bug|error|crash|repair|warrant|device|product|internet|connect|not work|software|set-?up|"
    "install|wi-?fi|camera|sensor|app|update|offline|claim",
    problems="""
    - The {item} I bought in {month} [stopped working|died] {when}, [after|with] {days} days of [normal|careful] use.
    - Since the update on {weekday} my {item} [restarts|freezes] every [hour|twenty minutes], and [I work|I have to work] with it.
    - [There is|We have had] no connection since {weekday}, the light on the router blinks [red|orange], and [the app says|your
      page claims] all is well.
    - I [followed|did] the setup for the {item} {few} times, and it [ends|stops] with "error {few}{few}" [every time|at the last
      step].
    - The {item} [makes a smell|gets so hot] [when it charges|after an hour] that I [unplugged it|do not dare to use it].
    """,
    questions="""
    - What [exactly|precisely] happens in the minute before it [fails|stops]? => [A click|A short flicker], then it is [dark|dead]
      for {days} seconds. [Then|After that] it starts as if nothing [had happened|was wrong].
    - Which version is shown under settings, and when was it last [updated|restarted]? => It says 4.{few}.{days}. It [updated
      itself|was updated] on {weekday}, [at night|while I slept].
    - Have you tried another [cable|socket], or another room? => [Both|Yes, both], and [at {partner}'s desk|in the kitchen] as
      well. It [behaves|is] the same [everywhere|each time].
    - Is it [still|] within the two years, and do you have the receipt? => Bought in {month}, order {order}. The receipt is in my
      [mail|inbox], [I can send it|somewhere].
    """,
    explanations="""
    - What you describe [fits|matches] a fault in the update from {weekday}. It [touches|affects] devices made before {month}; [a
      corrected one|the fix] is being [sent out|rolled out] now.
    - [Heat|A smell] like that is a safety matter. Leave it unplugged: no [repair|test] is worth the risk, and [we replace|I will
      replace] it without [seeing it|an inspection] first.
    - Error {few}{few} means the {item} reaches [the router|your network] but gets no address from it. [In most homes|Mostly] a
      full list of old devices is to blame, [not|rarely] the {item}.
    - There is a [fault|cut cable] in your area that our page did not show before {weekday}. [The light|A blinking light] is
      right, the page was [wrong|late], and I am [sorry|sorry for the wasted hours].
    """,
    concepts="""
    - [Will|Would] a factory reset [delete|cost me] my [files|settings]? I [never|have never] made a backup. => Yes, everything on
      it. So [first|before that] [copy|save] what matters to [the cloud|a stick], which takes about {days} minutes. We only reset
      if [the other steps fail|nothing else helps].
    - What is the difference between your warranty and [my legal rights|the law]? => The law [binds|obliges] the seller for
      defects that were there from the start; the warranty is our extra promise. You may [pick|choose] whichever is [better for
      you|kinder], and today that is the warranty.
    - [Repair or replacement|Replace or repair]: which [is faster|would you take]? => Replacement takes {few} days, repair about
      {days}. A repaired one is [yours|your own], with your [settings|marks]; a new one [starts|begins] clean. For work I would
      [replace|swap] it.
    """,
    steps="""
    - hold the power button for ten seconds, wait [a minute|until the light is out], and start it with nothing [else|] plugged in
    - I [push|have pushed] the corrected version to your {item}, which [installs|arrives] within {few} hours
    - remove the devices you no longer own from the router's list, [then|and] try the setup once more
    - if it fails again before {weekday}, I send a new {item} under {ticket} [at once|the same day]
    - put the old one into the same carton; the label is in your mail and the courier [collects|comes] on {weekday}
    - I [add|credit] {bill} for the lost days, without a form
    """,
)

CANCEL = theme(
    "cancel|subscri|renew|contract|plan|upgrad|downgrad|membership|trial|switch|leav|retention",
    problems="""
    - I [cancelled|wrote to cancel] in {month}, got [a confirmation|no answer], and was [renewed|charged {bill}] {when} all the
      same.
    - The button to cancel [leads|sends me] back to the start page, and [my term|the contract] renews in {days} days.
    - I signed up for a trial in {month}, forgot [the date|about it], and now [I am told|it says] I owe a whole year, {bill}.
    - My plan costs {bill} a month, [I use|we use] maybe a tenth of it, and [nobody|no one] [offers|tells me about] a smaller one.
    - I am [moving|going abroad] in {month}, where you have no [service|network], and {few} people told me {few} different
      [things|rules].
    """,
    questions="""
    - Do you want to leave [for good|altogether], or would a pause or a smaller plan [do|help]? => [To leave|For good], unless the
      price can be halved. I [use it|log in] [twice a month|on {weekday}s], at most.
    - On which date did you [cancel|write], and [how|by which way]? => In {month}, [by mail|through the form], and I have [a
      screenshot|the copy] with the {days}th on it.
    - Is anybody else [using|on] this account? => {relative_cap} [watches|uses it] [now and then|on weekends]. [That is fine|We
      have talked], [it can go|it may end].
    - May I ask what [disappointed|changed for] you? => [The price|Two price rises] since {month}, and [waiting|being on hold]
      {days} minutes each time I [call|called].
    """,
    explanations="""
    - Your message [reached us|came in] in {month}, {days} days before the deadline. It was [filed|put] under the wrong account,
      so the renewal is [void|not valid].
    - The contract runs in steps of a month [by now|after the first year]. That means you can [leave|end it] at the end of any
      month, [with|giving] {days} days' notice.
    - A forgotten trial can be undone within the first {days} days of the paid [term|time] if [it was hardly used|nothing was
      used], and yours [qualifies|is such a case].
    - Moving to a place we do not [serve|reach] ends the contract early by law. All that is needed is [a copy of the new
      lease|proof of the new address], and [no fee|no penalty] may be charged.
    """,
    concepts="""
    - Is a pause [the same as|different from] cancelling, and what do I [lose|keep]? => During a pause you pay nothing and keep
      [your name|the history] and the old price for up to {few} months. After a cancellation we delete it all within {days} days.
    - What [happens|will happen] to [the rest|the {days} days] I already paid for? => You can use them to the end, or I
      [refund|return] them [day by day|pro rata]. On your plan that is about {bill} [in all|altogether].
    - [Does|Will] the smaller plan [have|hide] a catch, [like a new term|such as two more years]? => A new plan normally starts a
      new year. I can [switch|move] you without one; please check that the confirmation says "monthly", and refuse it if it does
      not.
    """,
    steps="""
    - I [end|have ended] the contract as of {month}, and the confirmation is [in your mail|on its way]
    - the {bill} from the renewal goes back by {weekday}, under {ticket}
    - please keep [that mail|the confirmation], and [remove|delete] the direct debit only after the refund [is in|arrives]
    - I [switch|move] you to the monthly plan until then, so that [nothing renews|no new year begins]
    - download your [history|invoices] before the end of {month}, as [we cannot|nobody can] restore them later
    - if a letter about {bill} still arrives, ignore it and [answer|send me] this message
    """,
)

HELP = theme(
    "",
    problems="""
    - I have a problem with {topic} since {weekday}, order {order}, and [two|{few}] of your colleagues [could not help|gave
      different answers].
    - I [paid|spent] {bill} [in {month}|], and [now|today] {topic} [is not what I was promised|does not work the way it was
      described].
    - [I am writing|This is] about {topic}. [My last message|What I sent {when}] [was never answered|got an automatic reply], and
      {days} days have passed.
    - [Everything|It all] worked until {weekday}. Now {topic} [stops me|gets in the way] every time I use my {item}.
    """,
    questions="""
    - Can you [tell|describe to] me what happened [last|most recently], step by step? => On {weekday} I [opened the page|tried
      again], [got|saw] an error and a number, {ticket}. [Then|After that], [nothing|silence].
    - What would [a good outcome|the right solution] be for you? => [Either|Simply] [it works|a working {item}] by {weekday}, or I
      [get|want] the {bill} back. [I am open|I would take either].
    - Who have you [spoken to|talked with] so far, and when? => [Someone|A colleague] named {other} on {weekday}, and a chat
      [before that|in {month}]. [Both|They] [promised|told me] to call back.
    """,
    explanations="""
    - I have [read|gone through] the whole history [now|here]. Your case was [closed|marked as solved] on {weekday} [by mistake|by
      a robot], which is why [nobody|no one] [answered|wrote].
    - There are two ways from here: put {topic} right, which [takes|needs] about {days} days, or undo the purchase of {bill},
      which [I can do at once|takes me a minute].
    - The answers differed because the rule changed in {month}. The [newer|current] one is [better|kinder] for you, and it is the
      one that [counts|applies].
    """,
    concepts="""
    - What is a case number [good for|for], if I have to [repeat|tell] everything [each time|again]? => [It should|It is there to]
      spare you that. I have [put|written] a summary on top of {ticket}, so whoever opens it [sees|reads] the last agreement
      first.
    - How long do you keep [my case|these records] open? => Until you say it is solved. It can no longer be closed by the
      [clock|system]; I have [locked|pinned] it to my name until {weekday}.
    """,
    steps="""
    - I reopen your case as {ticket} and stay [its owner|responsible] until [it is done|the end]
    - I ask the [technical|specialist] team about {topic} today, with your notes attached
    - you [hear|get word] from me by {weekday}, [even|also] if there is nothing new
    - if it is not solved [by then|within {days} days], I refund {bill} without [a discussion|another form]
    - please keep the {item} and its papers until [we are done|the case is closed]
    """,
)

SUPPORT = Domain(
    words=begins(
        "customer|support|service|deliver|ship|refund|order|account|login|password|subscri|cancel|billing|complain|warrant|product|"
        "device|technical|outage|return|parcel|help ?desk|agent|shopper|buyer|user"
    ),
    themes=(BILLING, CANCEL, ACCESS, DELIVERY, FAULT),
    rest=HELP,
    objections=pairs("""
    - [The last one|{other}] [promised|told me] [that|the same], too. Why should I believe [it|you] this time? => [A fair
      question|You have reason to ask]. I am sending you [the reference|a mail] with {ticket} and [my name|a date] right now, so
      that you have it in writing and need not [trust|rely on] my word.
    - I do not [want|need] [a voucher|another apology], I want {bill} [back|put right]. => Understood, and no voucher will
      [come|be sent]. The money goes back [the way it came|to the card you used], and I [stay|remain] on it until [it shows|you
      see it].
    - [And if|What if] [nothing happens|it is not there] by {weekday}? => Then answer my mail with one word, and it lands with my
      team lead, who [can|may] pay out up to {bill} on the spot. I have [set|put] a reminder for myself [as well|too].
    - I [already|have already] [did|done] that {few} times. [Why|How] would it [help|work] [now|today]? => Because something
      changed on our side {when}. [If you would rather not|Should you not want to] try again, say so, and I [skip|go] straight to
      [the replacement|the next step].
    - [You are|Your company is] [quick|fast enough] when it is about taking money. => That [stings|hits home], and I cannot
      [argue|deny it]. [Taking|A payment] is automatic and giving back was not, until {month}. Today I [do it|am doing it] by
      hand, so it [leaves|is out] before I [go home|finish].
    - I do not [like|want] sending [my papers|photos] [to a stranger|over the internet]. => You [need not|do not have to]. There
      is a second way: [any shop of ours|any of our shops] can look at them without [copying|keeping] them. It takes until
      {weekday} [instead of|rather than] {few} hours.
    - [Could|Can] I speak to [your manager|somebody above you], please? => Of course. I [book|have booked] a call for {weekday},
      and {other} will [ring|call] you. If we finish [before|earlier], you can [cancel|drop] it with one click.
    """),
    details=pairs("""
    - [Do I need|Do I have] to be at home on {weekday}, [or|and] can {partner} [do it|take it]? => [{partner_cap} can|Anyone can],
      with the number {ticket}. [Nothing else|No paper] is needed, and you get a message [an hour|two hours] before.
    - Which [department|address] do I [write to|answer] if I [lose|delete] this [chat|mail]? => Any. Write "{ticket}" in the
      subject and it [finds|reaches] me, [even|also] from another [mailbox|address].
    - [Will|Does] that [change|affect] anything about order {order}? => No, the two are [apart|separate] now. Order {order} keeps
      its date and its warranty [from|starting in] {month}.
    - How will I [see|notice] that it [worked|went through]? => A mail titled "{ticket} done" and, on your [statement|account
      page], the sum of {bill}. [Both|They] should be there by {weekday}.
    - What about the {days} days I have [lost|been without it]? => You are right to ask. I add a credit for [those|all] {days}
      days, [rounded up|in full], and it [shows|comes off] in {month}.
    - Can you [stay|wait] [on the line|here] while I [try|do] it? => [With pleasure|Of course]. Take your time; I see [from
      here|on my screen] when the {item} [reports|comes back], and I [tell|will tell] you at once.
    - [Is there|Do you have] a [quicker|faster] way for next time? => Yes: choose "case" in the app and type {ticket}. That
      [skips|avoids] the queue and opens with the [whole|full] history.
    """),
    twists=pairs("""
    - There is a [catch|complication]: the order was paid by {relative}, whose card [was closed|expired] in {month}. => Then the
      refund would bounce. I [turn|change] it into a bank transfer; [please|for that] let {relative} confirm [by mail|from the
      address on the receipt]; [nothing else|no more] is needed.
    - I [should|have to] say that I [bought|got] the {item} second-hand, [from|through] a [colleague|neighbour]. => [Good to
      know|That is all right]. The warranty belongs to the {item}, not to the buyer. I only need the serial number and [roughly|]
      the month, {month}, and we [go on|continue].
    - [By the way|Just so you know], I am deaf, so [please|] no [calls|phone calls], [whatever happens|for any of this]. => Thank
      you for [saying so|telling me]. I have put "text only" at the top of {ticket}, and [everything|each step] will come in
      writing, [the courier's notice too|also from the courier].
    - The [strange|odd] thing is, I have two accounts with you, and [both show|each shows] order {order}. => That explains [a
      lot|the muddle]. I [merge|will merge] them into the older one, which keeps your [price|history]. For {few} hours [both|they]
      may look empty; that is [normal|expected].
    - I am [writing|asking] for {relative}, who is [abroad|in hospital] and [cannot|is unable to] do this. => Then [two lines|a
      short note] of consent will do, [a photo is fine|by mail]. Until it is here I can [explain|prepare] everything, and
      [press|change] nothing.
    - We are [in a valley|on a boat] [without|with hardly any] signal until {weekday}, so [no codes|nothing by text message] can
      reach me. => Then I [pause|stop] the clock on {ticket} until then, so that no deadline runs. [The link|My link] will be
      [sent|ready] on {weekday} and [lasts|is valid] {days} days.
    """),
    plans=pairs("""
    - [So|All right], what [happens|are you going to do] now, [concretely|step by step]? => [Here is|This is] what [happens|we
      do], in order.
    - [Okay|Fine]. What do you need from me, and what do you do? => [Three|Just three] things, [most of them mine|mostly on my
      side].
    - Can you [give me|write me] a [short list|clear plan], [so that|then] I can [hold you to it|tell {partner}]? => [Certainly|Of
      course], [hold me to it|in writing].
    - [How do we|How can we] [solve|settle] this [before {weekday}|without another {days} days of waiting]? => [Like this|I
      suggest we do it like this].
    - [Fair enough|I see]. [Then|So then] what is the [quickest|fastest] way [out of this|to the end]? => The [quickest|shortest]
      way has three parts.
    """),
    closings=pairs("""
    - [Thank you|Thanks], {agent}. [I have|I noted] {ticket} and will [wait|be patient] until {weekday}. => [Thank you|Thanks] for
      your patience with {topic}. [Everything|All of it] is [in writing|in your mail] now, and {ticket} stays open until you
      [say|write] that it is [done|solved].
    - That is [all|everything] for now. I [will write|write] if {weekday} [passes|comes and goes]. => [Please do|Do that]. I have
      a reminder [set|of my own], so [ideally|with luck] you hear from me first. I am sorry again for the {days} days [this cost
      you|you lost].
    - [It works|I just tried, and it works]! [Should have written|I should have asked] [in {month}|earlier]. => [Wonderful|Great
      to hear]. I [leave|keep] {ticket} open until {weekday}, in case it [comes back|returns], and the credit of {bill} [stays|is
      yours] either way.
    - I appreciate [it|the plain talk]. [I will tell|Now I can tell] {partner} it is [being handled|nearly over]. => You are
      welcome. [If anything about {topic} looks|Should anything about {topic} look] odd before {weekday}, [one line is enough|just
      write], and you will not have to [explain|tell] it all again.
    """),
)
