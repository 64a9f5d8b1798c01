"""What is said about money: markets, retirement, portfolios, debts, savings, taxes, homes, and the rest."""

from __future__ import annotations

from convoforge.simulator.grammar import pairs
from convoforge.simulator.phrases import Domain, begins, theme

MARKETS = theme(
    "volatil|crash|downturn|market|stock|bear|crypto|correction|recession|inflation|invest",
    problems="""
    - My account is down {percent}% since {month}, [roughly|about] {amount} on paper, and [every|each] [headline|alert on my
      phone] says it will get worse.
    - I [put|moved] {amount} into [a stock fund|an index fund] in {month}, and [since then|ever since] I have watched it
      [swing|move] by {small}% [in a single day|between breakfast and lunch].
    - {source_cap} [keeps saying|insists] a crash is coming. With {amount} [invested|in the market], I [cannot tell|do not know]
      what {topic} [should mean|means] for me.
    - I [nearly|almost] sold everything {when}, all {amount} of it, and only stopped because {partner} [asked|told] me to [sleep
      on it|talk to somebody first].
    - With all the talk about {topic}, I [moved|shifted] {monthly} a month into cash, and now [prices have gone up without me|I
      wonder whether that was a mistake].
    """,
    questions="""
    - When will you [need|want to use] this money, and does any of it have a [fixed date|deadline]? => Not for another {years}
      years. The [only|one] exception is about {monthly} a month that I might need [if work gets thin|should my hours be cut|for
      {relative}].
    - How is it split [today|at the moment] [between|across] shares, bonds and cash? => [Mostly|Nearly all] shares, [I would
      say|maybe] {big}%. The rest [sits|is] in [a savings account|a bond fund I never look at].
    - What did you do the last time prices fell [like this|this far]? => [Honestly, I sold|I sold] [near the bottom|at the worst
      moment] and [bought back later for more|missed most of the recovery]. {partner_cap} still [reminds|teases] me [about it|].
    - How many months of spending do you hold in [plain cash|a savings account]? => [About|Close to] {few} months, [if nothing
      breaks|not counting the car]. I [always meant|keep meaning] to [build that up|add to it].
    """,
    explanations="""
    - A fall of {percent}% [feels|can feel] like a verdict, but over {years} years it is [ordinary weather|part of the price of
      growth]. Most calendar years [contain|include] a drop of around ten percent [somewhere|at some point], and many still end
      [higher|in the black].
    - What you have is a paper loss: you own the same number of shares as in {month}, and only a sale [makes|would make] the loss
      [real|permanent].
    - The risk that [really|] hurts is being forced to sell at a bad moment. Money you need within [two or three|about three]
      years belongs somewhere dull, and money for year {years} can [ride it out|wait].
    - Strong days tend to [sit close to|come within weeks of] the [worst|weakest] ones. Someone who sells after losing {percent}%
      has to be right twice, [on the way out and on the way back in|when leaving and when returning].
    """,
    concepts="""
    - What does volatility [actually|really] [measure|tell me]? I [see|hear] the word [everywhere|every day] and [nod|pretend to
      know]. => It measures how widely prices move around their average, [upwards too|up as well as down]. A fund with twice the
      volatility swings about twice as far [in an ordinary year|in a typical month], and that alone says nothing about where it
      stands in {years} years.
    - Should I [use|set] a stop-loss order, so that I could [sleep|look away]? => It turns your holding into cash once the price
      touches a level you set. In a fast market it can fill [well|far] below that level, and then you sit in cash [while it
      recovers|with no plan for coming back].
    - {source_cap} [mentioned|talked about] rebalancing. What would that change for [me|somebody with {amount}]? => You sell a
      little of what has grown and buy what has fallen, back to the split you chose. It [forces|obliges] you to buy low by rule
      rather than by [mood|courage].
    """,
    steps="""
    - set aside {few} months of spending in [plain cash|a savings account], so that no [bad month|fall] can force a sale
    - write down [in one sentence|on one page] why you own each fund and what would make you sell it
    - [switch off|mute] price alerts and look at the account [once a month|on the first of each month|every quarter]
    - keep the automatic {monthly} a month going, because [falling prices buy more shares|it buys more when prices are low]
    - rebalance once a year, [say in {month}|perhaps every {month}], or when a part drifts more than five points from its target
    - move [whatever|anything] you need within three years into a money market fund
    """,
)

RETIREMENT = theme(
    "retire|pension|401|ira|employer plan|old employer|nest egg|social security|annuit|withdraw",
    problems="""
    - I am {age}, I have {amount} put away, and I [do not know|cannot work out] whether {topic} [is on track|still adds up] for
      me.
    - I want to stop working in {years} years, but [the calculators|three calculators] gave me [completely different|wildly
      different] numbers, and I save {monthly} a month at the moment.
    - My employer [changed|is changing] the pension plan in {month}, and I have to [choose|decide] what to do with {amount} [by
      then|in the old plan].
    - {partner_cap} [wants|would like] to retire [early|before me], and with {amount} between us I [worry|wonder] how {topic} can
      work for [two|both of us].
    - I [stopped|cut] my contributions in {month} to [help {relative}|pay for repairs], and now I am {age} and [behind|feel
      behind] on {topic}.
    """,
    questions="""
    - What do you [expect|plan] to spend in a year, in today's money? => [Something like|Around] {yearly}, [if the house is paid
      off|with one holiday|once the car is paid]. I have never [tracked it|written it down] [properly|for a whole year].
    - Does your employer match contributions, and [do you take|are you getting] all of it? => They match up to {small}%, I
      [think|believe]. I put in [less than that|about half of it], because [money was tight|I did not understand the form].
    - At what age do you [hope|want] to stop, and is part-time work [an option|imaginable]? => In {years} years [ideally|if I
      can]. Part-time [would be fine|I could imagine], [maybe two days a week|as long as it is not {weekday} nights].
    - Which other income [will there be|can you count on], such as a state pension or rent? => A state pension of
      [perhaps|roughly] {monthly} a month, and [nothing else so far|a little rent from {relative}]. I [have not checked|should
      check] the statement.
    """,
    explanations="""
    - A [common|useful] rule of thumb is to withdraw about four percent in the first year and follow inflation after that. For
      spending of {yearly} beyond your pension, that means [roughly|about] twenty-five times as much in savings.
    - With {years} years to go, [what you save|the contribution] matters more than [the return|which fund you pick]. Adding [one
      percent|a hundred] a month now does more than [chasing|hunting for] an extra half percent.
    - The match is [the best return you will ever get|a raise you only have to sign for]: leaving part of it [unused|on the table]
      is like [turning down|declining] salary.
    - The years [right before and after|around] the day you stop are the [tender|risky] ones. A fall then, while you are
      withdrawing, hurts more than the same fall [at {age}|ten years earlier].
    """,
    concepts="""
    - What is [the difference|really the difference] between a traditional and a Roth account, [in plain words|for somebody like
      me]? => With the traditional one you save tax today and pay it on withdrawal; with a Roth it is the other way round. If you
      expect a higher tax rate in {years} years, the Roth [tends to win|looks better].
    - Is an annuity [a good idea|wise], or [just|only] expensive? {source_cap} [swears by|warned me about] them. => It swaps a
      lump sum for income that cannot run dry. The price is [access|flexibility] and often fees of one to three percent, so it
      suits [basic bills|the floor of your budget], seldom all {amount}.
    - [When|At what age] should I [claim|start] Social Security? [{partner_cap} says at once|Everybody says something else]. =>
      Each year of waiting beyond full retirement age adds about eight percent, up to seventy. If health and savings allow,
      waiting is [cheap insurance|hard to beat] against a long life.
    """,
    steps="""
    - raise your contribution [until you get|to] the full match of {small}% [from|with] the next pay slip
    - track what you spend for [three months|a quarter], so that {yearly} becomes a [measured|real] number
    - request your state pension statement, which takes [ten minutes|a quarter of an hour] [online|on {weekday}]
    - add [one percent|{small}%] of salary every {month}, so that [each raise|a raise] is shared with your later self
    - hold [two|three] years of withdrawals in bonds and cash by the time you [stop|leave]
    - run the numbers again in twelve months with your new balance, and [adjust|correct] one thing, not five
    """,
)

PORTFOLIO = theme(
    "diversif|portfolio|allocat|rebalanc|fund|etf|bond|divid|asset",
    problems="""
    - Almost {big}% of my {amount} is in [one company|my employer's shares|three technology names], and [I know that is too
      much|{partner} calls it a bet].
    - I own {few} funds, [{amount} altogether|worth {amount}], and [when I looked inside {when}|on {weekday}] they all
      [held|turned out to hold] the same ten companies.
    - I [inherited|was given] a portfolio of {amount} in {month}, and I [cannot see|do not understand] how {topic} [is meant
      to|should] work with it.
    - [After|Since] the rise this year my shares grew from a third to {big}% of everything, and I [hesitate|do not dare] to touch
      [the winners|what works].
    - I would like to [bring order|get some order] into {topic}: {amount}, [spread over|in] {few} accounts, [chosen by mood|no
      plan behind it].
    """,
    questions="""
    - What would a fall of {percent}% in the largest position do to your [plans|sleep]? => [Plans, not much|It would delay
      things], about {years} months of saving. [Sleep is another matter|I would sleep badly], [I admit|to be honest].
    - In which kinds of account is it held, and where would a sale be taxed? => About half [sits|is] in a retirement account. The
      rest is taxable, with gains of maybe {percent}% since [{month}|I bought it].
    - How long can [this money|the whole of it] stay invested? => [At least|Roughly] {years} years. I [might take|may want]
      {monthly} a month [towards the end|for {relative}] [at some point|later].
    - Which costs do you pay [each year|now], fund by fund? => The cheap one is [almost free|0.1%]. The [others|rest] are around
      1.{few}% [in total|once I add it up], which [startled|surprised] me.
    """,
    explanations="""
    - Owning {few} funds is not the same as being spread out. What counts is whether [they fall on the same day|one bad story hits
      them all], and [yours|funds full of the same ten names] would.
    - A single company can lose {big}% and never come back; a broad market [never has|has always recovered so far], [given
      time|given patience]. [Spreading|Diversifying] is how you get paid for the risk you [cannot avoid|do take].
    - Bonds are there for [the bad year|the year shares fall], [not for|more than for] the return. At {years} years, [a share|a
      slice] of twenty to forty percent [is common|would be usual] and makes a fall of {percent}% [feel|look] like half of that.
    - A yearly cost of 1.{few}% sounds small. Over {years} years it [takes|eats] a [painful|surprising] part of the growth on
      {amount}, [rain or shine|in good years and bad].
    """,
    concepts="""
    - What [exactly|really] is [an index fund|an ETF], and why [is everybody keen on it|would it be better than picking]? => It
      buys every company in a list, in proportion to size, [without guessing|with no manager to pay]. You give up the chance to
      beat the market, and [the far larger|the bigger] chance of trailing it after costs.
    - How [do I|would I] rebalance without [a big tax bill|giving half of it to the tax office]? => [Begin|Start] inside the
      retirement account, where a sale costs nothing. Then point new money, your {monthly} a month, at [whatever is short|the part
      that lags]; [often|usually] that is enough.
    - [Does|Would] [gold|real estate] make me safer, [as {source} claims|as {partner} believes]? => A little of it can
      [soften|smooth] the ride, because it moves to its own rhythm. Beyond five or ten percent it becomes [a bet of its own|one
      more thing to worry about].
    """,
    steps="""
    - list every holding on one page with its share of {amount}, its cost and its [tax position|gain]
    - choose a target you can [live|sleep] with, [for example|say] sixty percent shares and forty percent bonds
    - sell [the overlap|doubles] inside the retirement account first, where no tax [is due|falls due]
    - bring the largest position below ten percent in {few} [even|equal] parts over the next [year|twelve months]
    - send the {monthly} a month to the part that lags, [instead of|rather than] selling winners
    - put one date in the calendar, [the first {weekday} of {month}|each {month}], to check the split
    """,
)

DEBT = theme(
    "debt|loan|credit|borrow|owe|bankrupt|collect|repay|overdraft",
    problems="""
    - I owe {amount} on {few} cards, the [worst|dearest] at {cardrate}%, and [the minimum payments barely touch it|paying the
      minimum barely moves the total].
    - I pay {monthly} a month towards [loans|debts], and [when I looked {when}|on {weekday}] the [balance|total] was higher than
      in {month}.
    - A [collector|letter from a collector] [reached me|arrived] {when} about {amount}, and I [do not even know|am not sure]
      [whether it is mine|if the sum is right].
    - I [took|signed for] a loan of {amount} for {relative} in {month}, [the payments stopped|nobody is paying], and now {topic}
      is [mine to solve|on me].
    - Between rent and {topic} there is [nothing|next to nothing] left by the [twentieth|third week] of the month, [although I
      earn|on] {yearly} a year.
    """,
    questions="""
    - Can you list each debt with its balance and rate, [even roughly|from memory]? => [The big one|The card] is at {cardrate}%,
      [about half of it|the larger half]. The rest is [a car loan|a store card and a loan] at [something like|around] {rate}%.
    - What comes in each month, and what is left after rent and food? => [About|Roughly] {monthly} is left, [in a good month|when
      nothing breaks]. {month} was [worse|bad], because of [the car|the dentist|a broken boiler].
    - Is any payment already late, and have you [spoken|talked] with a lender? => One, by {days} days. I [have not called|avoided
      calling], because I [feared|was afraid] [they would|they might] [cancel the card|want it all at once].
    - Have you got anything set aside for [surprises|emergencies]? => [Barely|Hardly anything], [one month at most|a few hundred].
      Each time I [save|put away] something, [{relative} needs it|the car eats it].
    """,
    explanations="""
    - At {cardrate}%, [a thousand on that card costs|each thousand costs] you about [twenty|as much as a tank of fuel] every month
      before you have repaid a cent. [That is why|So] the order in which you pay [matters|counts] more than the [total|size] of
      {amount}.
    - Two orders work. Highest rate first costs least; smallest balance first gives a win [within {few} months|early]. The best
      one is [the one you keep up|whichever you stick to].
    - Lenders [would rather|prefer to] lower a rate than write off a debt, and [many|most] have a hardship plan [they do not
      advertise|that is never on the website]. Asking before a payment is late [gives you|leaves you with] the [strongest|best]
      hand.
    - Paying only the minimum on {amount} [can take|takes] [well over ten years|longer than the car will last]. A fixed sum, even
      {monthly}, [cuts|shortens] that [dramatically|to a few years], because [none of it shrinks|it does not shrink] as the
      balance falls.
    """,
    concepts="""
    - [Would|Does] a balance transfer [help|make sense], or is it [a trick|just moving the problem]? => It [buys|gives] you twelve
      to eighteen months without interest for a fee of three to five percent. It helps if {monthly} a month clears [most of it|the
      lot] in that time and the old card stays [in a drawer|unused].
    - What [happens|does it do] to my credit score if I [settle|negotiate] for less? => A settled debt [stays|remains] visible for
      years and counts as worse than one paid in full, but better than one [unpaid|in collection]. If [buying a home|a mortgage]
      is {years} years away, it will have faded.
    - Should I [use|take] my retirement money to [get rid of|clear] {topic}? [It is so tempting|{partner_cap} says yes]. => [I
      would not|Please not], in most cases. You would pay tax and usually a penalty, and that money is [protected from
      creditors|out of creditors' reach] where it is.
    """,
    steps="""
    - write all debts on one page with balance, rate and due date, [worst rate at the top|sorted by rate]
    - call the lender at {cardrate}% and ask, in these words, for [a hardship plan|a lower rate]
    - pay the minimum everywhere else and [send|put] {monthly} a month at the [top|first] line
    - keep [one thousand|one month of rent] aside, so that the next repair does not go on a card
    - ask the collector in writing to prove the debt before you pay [a cent|anything]
    - roll each finished payment into the next debt, [the month it is done|without a pause]
    """,
)

SAVING = theme(
    "sav|emergency|budget|windfall|inherit|college|education|spend|cash|goal",
    problems="""
    - I earn {yearly} a year and [still|somehow] have [less than|barely] {monthly} [left|over] at the end of [every|each] month.
    - I [received|came into] {amount} in {month}, [from an aunt|after selling the car|through a bonus], and it has been
      [sitting|lying] in my checking account [ever since|for {few} months].
    - We want [to be ready|{amount}] in {years} years for [{relative}'s studies|a year abroad], and {topic} [never gets past|stops
      at] the [good intention|first spreadsheet].
    - When the [boiler|car] broke {when}, I had to [borrow|put it on a card], and that was [the signal|my wake-up call] to get
      serious about {topic}.
    - I have [started|tried] {few} budgets [this year|since {month}], and [each|every one] died [within three weeks|before the
      month was out].
    """,
    questions="""
    - What must be paid each month, before any choice of yours? => Rent, [insurance|the car] and food come to [about|roughly]
      {big}% of my pay. [The rest|What remains] [evaporates|goes on small things].
    - What is the first thing this money should [do for you|make possible]? => [Quiet nights|Peace of mind], [first of
      all|mostly]. After that, [a cushion for {relative}|something for {month}|the studies].
    - Is there any debt above six percent [beside it|at the same time]? => [One card|A card], at {cardrate}%, [a small balance|not
      much on it]. I [had not thought|never thought] of [that|paying it] as saving.
    - How steady is your income through the year? => [Steady|Fine] [except for|apart from] {month}, when it [drops|falls] by
      {percent}%. Then I [live on|use] whatever is [left|there].
    """,
    explanations="""
    - Saving that depends on [willpower|what is left] loses to [everyday life|the calendar]. A transfer of {monthly} on pay day
      [happens first|goes before you see it], and spending adjusts to [the rest|what remains].
    - Three to six months of [fixed costs|must-pay bills] is the usual [cushion|size]. With an income that dips by {percent}% in
      {month}, I would [lean towards|aim for] six.
    - Money with a date inside [three|about three] years belongs in a savings account. Beyond that, over {years} years,
      [inflation|leaving it in cash] is the bigger [danger|risk].
    - Paying off {cardrate}% is a [guaranteed|sure] return of {cardrate}%. No [savings account|fund] [comes close|can promise
      that], so that card is the first [place|home] for extra money.
    """,
    concepts="""
    - What is [the point of|the idea behind] separate accounts? It sounds like [one balance more to watch|fuss]. => A name on an
      account [protects it|makes it harder to raid]: people take from "savings" but seldom from "{relative}'s studies". Two or
      three are [enough|plenty].
    - How does compound interest [really|] work with [small sums|something like {monthly} a month]? => Each year you also earn on
      what you earned before. At {small}% for {years} years, [a large part|a good third or more] of the final sum is growth you
      never [paid in|put in yourself].
    - Should I [lock it away|take a fixed term] for a better rate? => Only the part you will not need. A [common|tidy] way is a
      ladder: thirds for one, two and three years, so that something [comes free|matures] every {month}.
    """,
    steps="""
    - set a standing order of {monthly} for the day after pay day, into an account without a card
    - clear the card at {cardrate}% before [anything else|saving further]
    - build the cushion to {few} months of fixed costs, then [stop|let it be]
    - sort [last month's|the {month}] spending into three piles: must, nice and [forgotten|never noticed]
    - cancel [two|three] of the forgotten ones on {weekday} and [raise|top up] the standing order by the same sum
    - give every account [the name of its purpose|a purpose as its name], [{relative}'s studies|the cushion] first
    """,
)

TAX = theme(
    "tax|deduct|irs|refund from|gift|estate|audit|will|trust fund",
    problems="""
    - I [got|opened] a letter from the tax office {when} that asks for {monthly}, and I [cannot see|do not understand] [where it
      comes from|which year it means].
    - I sold [shares|a flat] for {amount} in {month}, and [nobody|no one] told me what {topic} would [mean|cost] afterwards.
    - This year I have a salary of {yearly} and [side income|freelance work] of {monthly} a month, and {topic} [looks|got] [far
      more complicated|different].
    - {partner_cap} and I [married|separated] in {month}, and [the whole question of|everything about] {topic} [has to be
      redone|is open again].
    - I [missed|am about to miss] the deadline in {month}, because I was waiting for [a form|papers] from [my old
      bank|{relative}].
    """,
    questions="""
    - Which country or state do you file in, and [on your own|alone] or jointly? => [On my own|Alone], [same state|same place] for
      {few} years. [We|I] used [a program|software] [so far|until now], never [an adviser|a person].
    - Do you have the purchase papers, with dates and prices? => For [most|about {big}%] of it. The [older|early] ones, from
      {years} years ago, are in [a box|an attic] at {relative}'s.
    - Has anything been filed or paid for this year [yet|already]? => {bill} [in advance|as a first payment] in {month}, [nothing
      since|that is all]. I [meant to|wanted to] ask [first|before sending more].
    - Were there large one-off events, such as a sale, a birth or a gift? => [The sale|One sale] in {month}, and [a gift|money] to
      {relative} of about {monthly}. [Does that count|I hope that is allowed]?
    """,
    explanations="""
    - [Tax falls|You are taxed] on the gain, [never|not] on the whole {amount}. [What you paid|The purchase price], fees and
      improvements come off first, and holding for more than a year often [lowers|halves] the rate.
    - A letter is [a question|an opening bid], not a judgement. You [normally|usually] have {days} days or more to answer, and [a
      short reply with copies|one page with proof] [settles|ends] most of them.
    - Side income has nothing withheld. Setting aside about {big}% of [each payment|every invoice] would be too much; [between a
      quarter and a third|some thirty percent] is [common|a sound start].
    - Filing late costs [far|much] more than paying late. [Send the return|File] on time even if the money [is not there|comes
      later], [and|then] ask for instalments.
    """,
    concepts="""
    - What is the difference between a deduction and a credit? [I mix them up|They sound alike]. => A deduction makes the taxed
      income smaller, so a thousand saves you perhaps [two hundred and twenty|a quarter of that]. A credit comes off the tax
      itself, [dollar for dollar|in full].
    - How does loss harvesting work? {source_cap} [called|calls] it [free money|a trick]. => You sell something that is down, set
      the loss against gains, and buy something similar, not identical, for thirty days. It [delays|postpones] tax [more than
      it|rather than] [erases it|cancels it].
    - Could I [simply|just] give {relative} part of it, [to lower the bill|before {month}]? => Up to the yearly allowance a gift
      [needs no form|is simple]. Above that you report it, [usually|mostly] without paying, but the receiver [takes over|inherits]
      your purchase price.
    """,
    steps="""
    - put the letter, last year's return and all statements in one folder, [sorted by month|on paper or scanned]
    - find the purchase prices for the sale in {month}, as they [lower|reduce] the gain directly
    - answer the letter by registered mail within {days} days, [one page|briefly], with copies and no originals
    - move thirty percent of each side payment to a [separate|tax] account on the day it arrives
    - book one hour with a local adviser before {month}, with your three questions [written down|in writing]
    - ask for an instalment plan, if {monthly} at once [is too much|would hurt]
    """,
)

HOME = theme(
    "home|hous|mortgage|rent|property|real estate|refinanc|down payment",
    problems="""
    - We found a place, and with {amount} saved I [cannot tell|do not know] whether {topic} is [within reach|a stretch too far] at
      {rate}%.
    - My [mortgage|fixed rate] ends in {month}, and the [new offer|bank's offer] raises [the payment|what I pay] by {monthly} a
      month.
    - I pay {monthly} more rent than [a year ago|in {month}], and {partner} says buying would be [throwing less away|cheaper]. I
      [am not sure|want to check].
    - The bank [turned us down|said no] {when}, [with|despite] {amount} [saved|in the account], and did not [explain|say] why.
    - I bought a flat [{years} years ago|in {month}], and {topic} [keeps swallowing|eats] {monthly} a month [beyond the plan|more
      than I planned].
    """,
    questions="""
    - What share of your income would the payment take, all costs [included|counted]? => [About|Nearly] {big}% [if|when] I count
      [heating|insurance] and repairs. Without them it [looks|seemed] [much better|harmless].
    - How long do you expect to stay [in that place|there]? => At least {years} years, [unless my job moves|if {relative} settles
      at school]. [Nobody knows|I cannot promise], of course.
    - What would be left of {amount} on the day after [signing|the purchase]? => [Close to nothing|About one month of pay]. [That
      is|It is] the part [I like least|that worries {partner}].
    - Have you asked more than one lender? => Only [my own bank|the one at the corner], [on {weekday}|{when}]. They
      [offered|quoted] {rate}% and [wanted an answer|asked me to sign] within {days} days.
    """,
    explanations="""
    - [A home|The price] is not the whole cost. Upkeep takes about one percent of the value a year, [and|plus] tax and insurance;
      [that is|it adds up to] the money rent [quietly|already] includes.
    - [Between|The difference between] {rate}% and half a point less [looks|sounds] small, but over {years} years it [is|comes to]
      [a car|several years of holidays]. Asking three lenders costs one evening.
    - Buying [usually|mostly] wins after five to seven years, because [fees|the costs of buying and selling] have to be earned
      back. With {years} years ahead you are in the range where a careful sum [pays off|is worth doing].
    - A payment under [a third|thirty percent] of income leaves room for [bad luck|a broken boiler]. At {big}% a single
      [quiet|bad] month [turns|would turn] the house into [a worry|the boss].
    """,
    concepts="""
    - Fixed or variable: what [would you tell|do you tell] [somebody|a buyer] who [hates|dislikes] surprises? => Fixed, for as
      long as you will [surely|probably] stay. The variable rate is [cheaper|lower] today, and you carry the risk; ask yourself
      whether {monthly} more a month would [sink|hurt] you.
    - What are points, and [should|would] I [buy|pay for] them? => You pay one percent of the loan now to lower the rate a little.
      Divide the cost by the monthly saving: if the answer is less than [{few} years|your stay], it can pay off.
    - Is twenty percent down [really|still] [needed|a must]? => It avoids mortgage insurance and gets better rates. With less you
      can buy [sooner|earlier], but keep a cushion: [being|feeling] house-rich and cash-poor is how [good|sound] plans fail.
    """,
    steps="""
    - get written offers from three lenders in the same week, so that the rates [compare|can be compared]
    - practise the payment: save the extra {monthly} for {few} months and see [how it feels|what gives]
    - keep {few} months of costs untouched, even if the down payment gets smaller
    - ask the bank for the reason [in writing|on paper], and check your credit report for [errors|mistakes]
    - have the [roof|heating] and the [wiring|damp] inspected before you [sign|offer], whatever the seller says
    - set your highest price on {weekday}, [at the kitchen table|before the viewing], not [in the bidding|under pressure]
    """,
)

MONEY = theme(
    "",
    problems="""
    - I have {amount} [to think about|at stake], {years} years of time, and no [clear idea|real plan] when it comes to {topic}.
    - [Last month|In {month}] I [signed|agreed to] something about {topic} that costs {monthly} a month, and I [am no longer
      sure|wonder now whether] it was [wise|right].
    - {partner_cap} and I [disagree|cannot agree] about {topic}. There is {amount} [involved|in play], and [each of us|we both]
      [found|read] an article that proves the other wrong.
    - {source_cap} [told me|says] that {topic} [changes everything|is urgent] for people my age, and at {age} I [would hate|do not
      want] to [miss it|get it wrong].
    """,
    questions="""
    - What would a good outcome look like for you [in {years} years|a few years from now]? => [Being able|I would like] to [say no
      to work I dislike|help {relative}] without [counting|checking the balance]. [A number|In numbers]? Perhaps {amount}
      [more|set aside].
    - What have you tried [so far|up to now], and what [stopped you|got in the way]? => I [made a plan|read a lot] in {month}, and
      [then|after that] [life happened|{relative} fell ill|work took over]. About {monthly} a month still goes the old way.
    - How much of {amount} could you leave alone for five years? => [About half|Two thirds], [I think|if pressed]. The rest I
      [want|need] within reach, because [my income moves|of {relative}].
    """,
    explanations="""
    - Three things decide most of it: how long the money can wait, what it costs each year, and what happens if you are wrong. On
      {topic} the [third|last] one gets too little attention.
    - [Whoever|Anyone who] [sells|recommends] something earns between nothing and {small}% of {amount} a year. [Ask for that
      number|It is fair to ask] first, since it explains [much of the advice|a lot].
    - With {years} years ahead, [small habits beat|{monthly} a month beats] [clever moves|perfect timing]. [Regular and
      dull|Boring and steady] is [underrated|hard to beat].
    """,
    concepts="""
    - How do I [find out|tell] whether [somebody|an adviser] works for me or for [a bank|a commission]? => Ask one question: are
      you a fiduciary at all times, and who pays you? [A clear answer|An answer] in writing is [a good sign|what you want]; [a
      long story|a smile] is not.
    - What does [risk|"low risk"] mean here, [in numbers|in money I would feel]? => Take the worst year [of the past|on record]
      and apply it to {amount}. If losing {percent}% would change your [rent|plans], it is not low, whatever the [brochure|label]
      says.
    """,
    steps="""
    - write one page about {topic}: the goal, the date and the sum, {amount} or less
    - ask for every yearly cost in writing, in [dollars|money] rather than percent
    - keep {few} months of spending outside of it, [in plain cash|at another bank]
    - begin with a part, say {monthly} a month, and [look again|review it] in {month}
    - tell {partner} the plan in five sentences, because what [cannot be explained|nobody understands] is seldom kept
    """,
)

ADVICE = Domain(
    words=begins(
        "financ|invest|market|retire|portfolio|tax|mortgage|saving|debt|loan|pension|stock|wealth|money|budget|401|ira|etf|bond|"
        "insurance|estate|inherit|fund|crypto|diversif|trad(?:er|ing)|advisor|adviser|bank|income|economy"
    ),
    themes=(RETIREMENT, DEBT, HOME, TAX, SAVING, PORTFOLIO, MARKETS),
    rest=MONEY,
    objections=pairs("""
    - But [what if|suppose] I do all that and [lose my job|the worst comes] in {month}? => Then the cushion pays the bills
      [for|through] {few} months while everything else [stays untouched|rests]. [That is|This is] exactly what it is for, and you
      would [refill|rebuild] it first, before [any other goal|anything clever].
    - [Honestly|To be frank], [this sounds slow|that sounds dull]. {source_cap} [made|doubled] {amount} in a [few months|year]. =>
      You hear from the ones [it worked for|who won]; the others [keep quiet|do not post about it]. A plan for {years} years has
      to work without luck, and {monthly} a month [does|works].
    - {partner_cap} [will say|says] that [advisers|people like you] only want [fees|to sell something]. => A [fair|sensible]
      suspicion. Nothing I have suggested so far [pays me|earns me] a cent, and you can [do|carry out] [each step|all of it] at
      any [bank|broker] you like.
    - I [tried|did] something like that [{few} years ago|in {month}], and I [gave up|stopped] after [six weeks|a month]. =>
      [Then|In that case] the plan was [too large|too strict], not you. [Halve it|Start with half]: half of {monthly}, automatic,
      for ninety days. [Raising it|Going up] later is [easier|far easier] than starting over.
    - Is it not [better|safer] to wait until things [calm down|are clearer]? => [It feels|That feels] safer, yet things are only
      clear [in hindsight|afterwards]. [Splitting|You can split] the step over {few} months [takes|and take] the sting out of a
      bad start without waiting for a [signal|bell] that never rings.
    - My [head|mind] says yes and my stomach says no, [to be honest|if I am honest]. {amount} is [everything we have|{years} years
      of work]. => Then let the stomach choose the size and the head the direction. [Begin with|Take] a tenth, [live|sit] with it
      until {month}, and only then [decide about|touch] the rest.
    - [Does|Will] inflation not eat [the cash|whatever I set aside] at {small}% a year? => Some of it, yes. Think of it as the
      [premium|price] for an insurance: on {few} months of spending it costs you [little|a few dollars a week], and it
      [spares|saves] you selling {amount} at a bad time.
    - [There is|I have] one reason not to start this [month|week]: [fear of a mistake|plain tiredness]. => [Most mistakes
      here|Small mistakes] can be undone within {days} days. Doing nothing [is a choice too|also has a price], about {monthly} a
      month in your case.
    """),
    details=pairs("""
    - Which of [these|those] would you do first if [there was|you had] only [one hour|an evening] this week? => The first one. It
      takes [twenty|thirty] minutes, needs no [courage|decision], and it [protects|steadies] everything after it. The others can
      wait until {weekday}.
    - How [will|would] I know [after|in] {few} months whether it is working? => Look at one number: what you [keep|set aside] each
      month. If it is near {monthly} and [the plan still bores you|you sleep well], it [works|is working]. [Prices|Markets] are
      not part of the test.
    - [Do I|Would I] need a [special|new] account for that, [or|and] what does it cost? => [Your present bank|Any large broker]
      [will do|is fine]. Look for no monthly fee and fund costs below a quarter of a percent; above that, on {amount}, you
      [feel|notice] it.
    - What do I [say to|tell] {partner} [tonight|this evening]? [We always end up arguing|Money is a sore spot]. => Start with
      what you both want in {years} years, and only then show [the page|the numbers]. [Ask for|Suggest] a trial until {month}
      rather than [a yes for ever|agreement].
    - And [how often|when] should I [check on|look at] it [from now on|after that]? => Once a month for ten minutes, and once a
      year, in {month}, for an hour. [More|Looking more often] [adds worry, not return|only invites tinkering].
    - [What could|Is there anything that should] make me [change|drop] the plan? => Three events: a change of income, of family,
      or of the date you need the money. A [headline|bad week], even one of {percent}%, is not on the list.
    - Could you [put|give me] a number on [the first step|it], [please|for my budget]? => [Gladly|Of course]. Take {monthly} for
      the first [month|ninety days]. It is about [what one can feel|a tenth of what you told me], and small enough to [survive|get
      through] {month}.
    - Should we [speak|talk] again, or [do I manage|can I do the rest] alone? => [Try|Do] the first two steps [alone|yourself];
      they [are safe|cannot go badly wrong]. Then [come back|write] in {few} weeks with [what surprised you|your questions], and
      we [tune|adjust] the rest.
    """),
    twists=pairs("""
    - There is one [odd|unusual] thing: half of it is [still in|held in] the name of {relative}, who [moved|went] abroad in
      {month}. => [That changes|This changes] the order of things. Until the title is cleared, [do not sell|please move nothing];
      ask for [the certificate|proof] of ownership first, and have a local lawyer look at it.
    - I [should|have to] add that I am paid in [another currency|two currencies], and [the rate|it] moved by {percent}% this year.
      => Then a part of your risk is currency, not {topic}. Match them: [keep|hold] money in the currency in which you will
      [spend|need] it, and [convert|change] the rest in small parts.
    - [By the way|Before I forget], I may [have to|need to] move abroad in {days} weeks. [Does that|Would that] [break|ruin] the
      plan? => It [pauses|delays] part of it. Residence decides which accounts you may keep, so [settle|clear up] that before
      opening anything, and [leave|let] {amount} where it is meanwhile.
    - There is [a court case|a divorce] running, and {amount} [might be|may be] frozen [until|before] {month}. => Then nothing
      that looks like hiding or gifting, please. [Leave|Keep] it visible, [tell|inform] your lawyer about each step, and
      [plan|live] with the {monthly} that are [certainly|clearly] yours.
    - What if [I cannot|I do not] [sign|decide] alone, because {relative} has power of attorney? => Then we need two signatures
      for every step. [Invite|Bring] {relative} [into the next talk|along next time], and ask the bank for [the exact wording|a
      copy] of the document from {month}.
    - One more [complication|thing]: I [get|receive] support that stops if I [own|hold] more than a few thousand. => [Good that
      you say so|Thank you for mentioning it]. An ordinary account could cost you that support. There are protected accounts [for
      this|made for it]; ask the agency [in writing|] before [a cent moves|moving {amount}].
    """),
    plans=pairs("""
    - [So what|What] would you [do|suggest], [step by step|in order], if it were [your|your own] {amount}? => [In your place|If it
      were mine] I would take three steps.
    - [All right|Okay], I am [ready|convinced enough]. [How does the plan look|What is the plan] for [the next {few}
      months|somebody like me]? => [Here is|This is] the plan, [shortest step first|in the order I would do it].
    - Can you [boil that down to|turn that into] [a short list|three things to do] [I can stick to the fridge|before {weekday}]?
      => [Gladly|With pleasure], [three|just three] lines.
    - [Where do I|Where would I] [begin|start], given {monthly} a month and [not much nerve|a full calendar]? => [Small|Begin
      small] and in this order.
    - What [happens|should happen] next, [concretely|in practice]? I [like|need] to [tick things off|see the steps]. =>
      [Then|Good,] here is [your list|a list to tick off].
    """),
    closings=pairs("""
    - [Thank you|Thanks], {agent}. I [will start|start] with the first step [tonight|on {weekday}] [and tell {partner}|]. => [You
      are welcome|My pleasure]. You [came with|had] a [good|hard] question about {topic}, and you [leave|go home] with [a first
      step|a list]. [Write to me|Let me know] how [{month}|the first month] went.
    - That is [all I needed|what I came for]. I [wrote it down|have it on one page] and will [look at it again|review it] in
      {month}. => [Good|Very good]. Remember that [the plan|it] is allowed to be [boring|slow]. [General guidance|What I said] is
      no substitute for [advice on|a look at] your papers, so [have them checked|ask locally] before [large|big] moves.
    - I [feel|am] [better prepared|ready] for the talk with {partner} [now|]. [Thanks for your patience|Thank you so much]. => [I
      am glad|Glad to hear it]. [Keep the first step small|Begin small], [keep|put] the date in {month} in the calendar, and [come
      back|ask again] [any time|whenever] {topic} [gets noisy|comes up again].
    - [Good talk|This was helpful], [thank you|thanks a lot]. {days} days from now I will [know more|have the first two steps
      done]. => [I look forward to it|That is a fine pace]. If [only one thing|nothing else] stays with you, let it be this:
      {monthly} a month, [automatic|on autopilot], [beats|is worth more than] any [clever|brilliant] move on {topic}.
    """),
)
