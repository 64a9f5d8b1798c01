"""What is said about any other topic: goals, habits, obstacles, a plan."""

from __future__ import annotations

from convoforge.simulator.grammar import pairs
from convoforge.simulator.phrases import Domain, begins, theme

TALK = theme(
    "",
    problems="""
    - I have been [busy|struggling] with {topic} since {month}, and [whatever I try|each attempt] [works|lasts] for {days} days at
      most.
    - {partner_cap} [asked|wants to know] what I [intend|plan] to do about {topic}, and I [had no answer|changed the subject].
    - [Next month|In {month}] I have to [make a decision|take a stand] on {topic}, and [so far|up to now] I have only
      [collected|gathered] opinions.
    - {source_cap} made {topic} [sound|look] [easy|simple]. I [tried|followed] it for {days} days, and [it is not|here I am].
    - I [started over|began again] with {topic} {when}, for the {few}th time, and I [want|would like] it to be the last.
    - [Something that happened {when}|A talk with {relative} {when}] [made me see|showed me] that I [need|have] to [rethink|look
      again at] {topic}.
    """,
    questions="""
    - What would be different in your week if this went well? => I would [have|get] my {weekday}s back, [for a start|to begin
      with]. And {partner} would [stop asking|see me smile more often].
    - What have you tried so far, and how long did [each thing|it] last? => A [plan|list] on paper for {days} days, then [an app|a
      course] in {month}. [Both|They] [faded|stopped] when [work|{relative}] needed me.
    - Who else is [affected|involved], and what do they want? => Mostly {partner}. We [agree|differ] on the goal, and
      [argue|differ] about the [pace|order].
    - How much time can you [honestly|really] give it? => [Twenty|Thirty] minutes on [workdays|most days], and [more|an hour or
      two] on {weekday}. [More|Anything else] would be [a lie|wishful].
    - When does it go well, even [a little|briefly]? => In the [mornings|evenings], [oddly enough|funnily]. By {weekday} I am
      [tired|out of steam], and it [slips|goes].
    - What is the worst thing that could [realistically|] happen? => I [lose|waste] another {few} months and [some|a bit of]
      money, perhaps {bill}. [Written down|Said aloud], it sounds [smaller|survivable].
    """,
    explanations="""
    - [Most|Many] people treat {topic} as one big decision. It is [closer to|more like] {few} small ones, and [only|just] the
      first of them has to be made [this week|before {weekday}].
    - What lasted {days} days did not fail; it [ran into|met] a busy week it was not built for. [A plan|Something] that survives
      your worst {weekday} [beats|is better than] one that needs your best.
    - Opinions about {topic} [differ|vary] because [people solve|they answer] different problems. Yours is [rather|mostly] about
      time and [energy|support], so I would [ignore|set aside] half of what you [collected|heard].
    - The order matters: first make it easy to begin, then [make it regular|repeat it], and only in {month} [make it
      better|improve it]. [Most|Many] attempts [do|try] it the other way round.
    - You know more than you [think|give yourself credit for]. [It goes well|It works] in the [mornings|quiet hours], so [let
      us|we] [build|start] there and [leave|let] the rest alone for {few} weeks.
    """,
    concepts="""
    - How do I [know|tell] whether it is [the right|a good] goal, and not just [{partner}'s|somebody else's]? => Imagine it done,
      and nobody [knows|watching]. If you still [want|would want] it, it is yours. If it [shrinks|goes flat], ask [what part|which
      piece] of {topic} remains.
    - What if I [miss|lose] a [day|week]? [That is usually|That was always] the end of it. => Decide the rule now: never two in a
      row. One gap is [weather|an accident], two are [a new habit|the start of a habit]. [Write it|Put it] where you will see it.
    - Is [more research|reading more] a good idea, or [an excuse|a way to stall]? => Give it an end: {few} sources by {weekday},
      then [act|begin]. After that, an hour of doing [teaches|tells] you more about {topic} than a [day|week] of reading.
    """,
    steps="""
    - write down in one sentence what you want from {topic} by {month}
    - pick the smallest first piece, one that takes [ten|fifteen] minutes, and do it [before {weekday}|tomorrow]
    - put it in the calendar at the hour when it already goes well
    - tell {partner} what help looks like, [in one sentence|concretely], and what does not
    - keep a line a day about what you did, [not|never] how it felt, for {few} weeks
    - look at those lines on the last {weekday} of the month and change one thing
    - [stop|drop] one thing that has cost you time since {month} and [given|brought] nothing back
    """,
)

ANY = Domain(
    words=begins(""),
    themes=(),
    rest=TALK,
    objections=pairs("""
    - That sounds [too|almost too] simple for something I have [fought|carried] since {month}. => Simple is not the same as easy.
      The [first|small] step only has to be so small that a bad day cannot [stop|kill] it; the [hard|difficult] part comes
      [later|in week {few}], when you are [warmed up|used to it].
    - And [if|what if] {partner} is against it? => Then ask for {few} weeks, not for [agreement|approval]. [A trial|An experiment]
      with an end [is easier|is far easier] to say yes to, and by {month} you [both|] have [facts|something real] to talk about.
    - I have [no|hardly any] [discipline|willpower], [everybody|{relative}] says so. => [Few people|Hardly anyone] [do|does]. The
      ones who manage have [arranged|set up] things so that they need less of it: a fixed hour, [a friend|company], and nothing to
      [decide|prepare] at [night|the last minute].
    - [Experts|The books] say [something else|the opposite] about {topic}. => They [may|might] be right for [most|other people].
      You have one case: yours. [Try|Test] it for {days} days, [write down|note] what happens, and let that [outvote|overrule]
      both of us.
    - It feels [selfish|wrong] to [spend|take] time on this while {relative} needs me. => I [understand|see that]. Thirty minutes
      take little from {relative}, and [someone|a person] who is less worn out [can give more|has more to give]. You can [say|tell
      them] exactly that.
    - Why should it [work|go better] this time? => Because [two things|something] changed: you know [what broke it|where it
      breaks], and the first step is [a tenth|a fraction] of last time's. If it [fails|stops] by {weekday}, we [learn|will have
      learned] which part to shrink.
    """),
    details=pairs("""
    - What do I do on a day when [nothing works|all goes wrong]? => The [two-minute|shortest] version, and call it [done|a day].
      The point of such a day is to [keep the thread|stay in it], not to [get ahead|make progress].
    - How do I [explain|put] it to {partner} [without a fight|in two sentences]? => Try: "I want to [change|try] something about
      {topic} until {month}. [It needs|I need] thirty minutes from us, and your honest view [after that|at the end]."
    - When do we [know|see] if it [was|is] enough? => In {few} weeks. If you did it on more than half of the days, [raise|lift] it
      a [little|notch]. If not, [make it|go] smaller again, [without shame|and no guilt].
    - [Should|Do] I [buy|get] anything for it? {source_cap} [recommends|sells] [a kit|a course] for {bill}. => Not [yet|in the
      first month]. Buy it as a reward in {month}, when you know what you [miss|lack]; [half|most] of such things [end|stay] in a
      drawer.
    - Which of the three [matters|counts] most? => The second. [Everything else|The others] can [slip|wait] for a week, but
      without that first small piece there is nothing to [improve|build on].
    - Can I [come back|ask again] when it [gets hard|slips]? => [Please do|Any time]. Bring [the lines|your notes] from the {days}
      days before, as they [show|tell] us where it [bends|gave way] better than memory [does|can].
    """),
    twists=pairs("""
    - I left out [one thing|something]: I may have to [move|go abroad] in {days} weeks. => Then we [plan|build] for two places.
      [Keep|Choose] the part that fits in a [suitcase|backpack], and let the rest begin when you have [arrived|settled].
    - The [odd|strange] part is that {relative} [must not|should not] [know|hear] about it [until {month}|yet]. => That is
      possible, though [secrets cost|it costs] strength. Pick steps that need no [explaining|cover story], and a date after which
      you may [speak|tell them].
    - I [work|am on] night shifts every second week, so [mornings|fixed hours] do not exist [for me|]. => Then tie it to an event,
      not to [the clock|an hour]: right after you [wake up|eat], whenever that is. [Count|Track] days by waking, not by the
      calendar.
    - My doctor told me in {month} to [avoid|take it easy with] [stress|strain]. [Does that|Will that] change anything? => It
      [does|changes the limits]. Show the plan to your doctor [first|before you start], halve each step, and [stop|end] at the
      first sign you were [told|warned] about.
    - Two people [depend|count] on me for the same hour, and [neither|none] can be [moved|asked]. => Then that hour is
      [gone|taken], and we should not [pretend|plan around hope]. [Look at|Use] the {days} minutes before it; [small and safe|tiny
      and certain] beats [large and disputed|big and uncertain].
    """),
    plans=pairs("""
    - [So|All right], what would you do [first|in my place], and [then|after that]? => I would keep it to three steps.
    - Can we [turn|make] that into [something I can tick off|a short plan] [for the coming {few} weeks|]? => [Yes|Sure], [three
      lines|short and plain].
    - What does that mean for [{weekday}|this week], [concretely|in practice]? => [Three|Just three] things, none of them
      [big|long].
    - [Where|With what] do I begin, [honestly|if I only do one thing]? => Begin [with the first of these|at the top], and
      [add|take] the others when it [holds|sits].
    """),
    closings=pairs("""
    - [Thank you|Thanks], {agent}. I will [do|take] the first step [before {weekday}|tomorrow] and [write it down|see]. => [That
      is all it takes|That is the right size]. [I wish you|All the best, and] some patience with {topic}; [small|quiet] steps [add
      up|carry far], and you can [come back|write] whenever it [helps|gets stuck].
    - [I feel|This gives me] [clearer|some clarity] about {topic}, and {partner} will be [glad|relieved]. => [I am glad|Good].
      [Remember|Keep in mind]: never two gaps in a row, and look at your lines on the last {weekday} of {month}. The rest [can
      wait|will follow].
    - That was [what I needed|worth the {days} minutes]. [See you|I will report back] in {month}. => [I look forward to it|Please
      do]. Whatever [happens|comes], [bring|keep] the notes; an honest account of {topic} is [worth more|more useful] than a
      [perfect|flawless] week.
    """),
)
