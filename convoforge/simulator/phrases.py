"""What anybody says, whatever the topic: feelings, personas, thanks, and the shape that a domain's phrases take."""

from __future__ import annotations

import re
from dataclasses import dataclass

from convoforge.simulator.grammar import Pair, Pattern, pairs, patterns


@dataclass(frozen=True)
class Theme:
    """What is said about one family of topics. `steps` follow "First, " and end without a full stop."""

    topics: re.Pattern[str]
    problems: tuple[Pattern, ...]
    questions: tuple[Pair, ...]
    explanations: tuple[Pattern, ...]
    concepts: tuple[Pair, ...]
    steps: tuple[Pattern, ...]


@dataclass(frozen=True)
class Domain:
    """A field of work: its themes, and what fits all of them. `rest` is for topics that no theme knows."""

    words: re.Pattern[str]
    themes: tuple[Theme, ...]
    rest: Theme
    objections: tuple[Pair, ...]
    details: tuple[Pair, ...]
    twists: tuple[Pair, ...]
    plans: tuple[Pair, ...]
    closings: tuple[Pair, ...]


@dataclass(frozen=True)
class Feeling:
    """How one emotion sounds: at the start, in between, at the end; and how somebody answers who noticed it."""

    words: re.Pattern[str]
    start: tuple[Pattern, ...]
    flare: tuple[Pattern, ...]
    ease: tuple[Pattern, ...]
    heard: tuple[Pattern, ...]


@dataclass(frozen=True)
class Manner:
    """What gives a persona away in the first turn."""

    words: re.Pattern[str]
    lines: tuple[Pattern, ...]


def theme(topics: str, *, problems: str, questions: str, explanations: str, concepts: str, steps: str) -> Theme:
    """A theme from its lists. `topics` are the beginnings of words, parted by `|`."""
    return Theme(begins(topics), patterns(problems), pairs(questions), patterns(explanations), pairs(concepts), patterns(steps))


def begins(words: str) -> re.Pattern[str]:
    """Matches a text in which a word begins with one of `words`, parted by `|`."""
    return re.compile(rf"\b(?:{words})", re.IGNORECASE)


def feeling(words: str, *, start: str, flare: str, ease: str, heard: str) -> Feeling:
    """A feeling from its lists."""
    return Feeling(begins(words), patterns(start), patterns(flare), patterns(ease), patterns(heard))


FEELINGS = (
    feeling(
        "fear|afraid|scar|anx|worr|panic|nerv|dread|terrif|stress|overwhelm|tense",
        start="""
        - I [have not slept|barely sleep|lie awake] [since {weekday}|for days|these nights], and [my stomach turns|my hands go
          cold] [every time|whenever] I think about {topic}.
        - [To be honest|I will be honest], {topic} [scares|frightens] me more than I [like to admit|have told {partner}].
        - I am [really|quite|properly] [worried|scared|on edge], and [the more I read about|the longer I think about] {topic}, the
          [worse|tighter] it gets.
        - Every [morning|evening] I [check|look] again, [heart racing|holding my breath], [hoping|praying] that {topic} will
          somehow [sort itself out|look less frightening].
        - I keep [imagining|picturing] the worst [case|outcome] with {topic}, and [{partner} says I am not myself|I cannot switch
          it off|it follows me to work].
        """,
        flare="""
        - [Just saying that|Even typing this|Saying that out loud] makes me [nervous|uneasy|shaky].
        - [What if|And what if] it [goes wrong anyway|gets worse before {month}|is already too late]?
        - I [keep expecting|am braced for] [bad news|another shock|the next blow].
        - My [chest|throat] [tightens|goes tight] when I think about [it|{month}|the numbers].
        """,
        ease="""
        - I [can breathe|am breathing] [a little easier|again], [which I did not expect|for the first time since {weekday}].
        - The [knot in my stomach|fear] is [smaller|not gone, but smaller] now that [there is a list|I know the next step].
        - I am still [a bit nervous|not fearless], but [it feels manageable|I know where to start|I can sleep on this].
        """,
        heard="""
        - That sounds [frightening|exhausting|like a heavy thing to carry], and [it makes sense|I understand] that {topic} [keeps
          you awake|is on your mind all day].
        - [Thank you|Thanks] for telling me [how it feels|plainly]. [Fear|Worry] is [a normal answer|an honest reaction] to [not
          knowing|so much uncertainty], and we can [make it smaller|take it apart] together.
        - [I hear how worried you are|I can hear the worry], and nothing has to be decided [today|in the next hour]. Let us [slow
          down|look at it in daylight] first.
        - [Many people|A lot of people] feel [exactly this|just the same] about {topic}. [Let us|We will] [swap|replace] the worst
          case [for|with] [numbers|facts].
        """,
    ),
    feeling(
        "ang|frustrat|irritat|annoy|furious|mad|resent|impatien|outrag|upset|hostil",
        start="""
        - I am [frankly|honestly] [fed up|furious|at the end of my patience] with {topic}, and I [have told|told]
          [three|four|five] people so [already|since {weekday}].
        - [This is|It is] [ridiculous|beyond a joke]. I have [spent|wasted] [{days} days|hours] on {topic} and [nobody|not one
          person] [gives a straight answer|takes responsibility].
        - I am [angry|livid] about {topic}, and before you [ask|start]: [no, I will not calm down|I did read the small print|yes,
          I tried the obvious].
        - How [hard|difficult] can {topic} be? I [get|am handed] a different [story|answer] every time [I ask|I call].
        - I should not have to [fight|argue] about {topic} [at all|after all this time], and yet here I am [again|on a {weekday}
          evening].
        """,
        flare="""
        - [And yes|So yes], I am [still|pretty] [annoyed|angry] about that.
        - [Nobody|Not one person] [told|warned] me [any of that|about this] [before|in {month}].
        - It [drives me up the wall|makes my blood boil] [that I have to explain this again|every single time].
        - I [lost|gave up] [a whole afternoon|my {weekday}] over this.
        """,
        ease="""
        - I [came in angry|was ready to shout], and [I appreciate|credit to you for] the straight [answers|talk].
        - [Fine|All right], that [takes the edge off|is the first sensible thing I have heard since {month}].
        - I am [still annoyed|not happy] about how it [began|started], but [this|your plan] is [fair|something I can work with].
        """,
        heard="""
        - You have [every reason|good reason] to be [angry|annoyed]: {days} days [without a straight answer|of going in circles]
          is not [good enough|acceptable].
        - I am sorry. [You should not have had to|Nobody should have to] [explain this so often|chase {topic} like that], and I
          [will not send you in another circle|intend to fix it here].
        - That would [frustrate|anger] me too. [Give me|I need] [one or two facts|a couple of facts], and then you [get|will have]
          a [straight|plain] answer about {topic}.
        - [Fair enough|Understood]. I will [skip the speeches|keep it short and concrete] and [deal with|stay with] {topic} until
          [it is settled|you have an answer].
        """,
    ),
    feeling(
        "sad|disappoint|grie|loss|lonel|hopeless|despair|regret|depress|heartbr|melanch",
        start="""
        - I feel [rather low|sad|worn out] about {topic}, [and|because] [it was meant to go|I had hoped it would go] [so
          differently|better].
        - [It has been|This was] a [hard|heavy] {month}, and {topic} is [the last thing I have strength for|one weight too many].
        - I [thought|really believed] that by now {topic} would be [behind me|settled], and [it hurts|I am so disappointed] that
          it is not.
        - [Since {month}|For weeks] I have [put off|avoided] {topic}, because [it reminds me of what I lost|every look at it makes
          me sad].
        """,
        flare="""
        - [It still hurts|I still feel the loss] when I [say it|think back to {month}].
        - I [had hoped|so wanted] [for something better|to tell {partner} good news].
        - Some [days|evenings] I [wonder why I bother|just want to close the folder].
        """,
        ease="""
        - I feel [a little lighter|less alone with it], [and that is worth a lot|truly].
        - [It is|That is] the first time since {month} that I [can see a way|feel some hope].
        - [The sadness|It] will take [its time|a while], but [the next step is clear|I can do this much].
        """,
        heard="""
        - I am [so|very] sorry. [That is a lot|It is a lot] to carry, and it is [kind|brave] of you to [look at|face] {topic} all
          the same.
        - [Thank you|Thanks] for [trusting me with this|saying it]. We can take {topic} [one small piece|a single step] at a time,
          at your [pace|own speed].
        - [Disappointment|Sadness] like that [deserves room|is nothing to hurry past]. [When you are ready|If you like], we
          [begin|start] with the easiest part of {topic}.
        """,
    ),
    feeling(
        "sham|guilt|embarrass|humiliat|remorse|self-consc",
        start="""
        - This is [embarrassing|not easy to write], but I [should have|ought to have] dealt with {topic} [years|months] ago.
        - I [feel guilty|am ashamed] about {topic}. [{partner_cap} does not know|I have not told {partner}] [how bad|how far] it
          [has got|went].
        - Please do not [laugh|judge me]: at {age} I [still do not understand|have never sorted out] {topic}.
        - I [hid|pushed away] {topic} for [so long|{few} years] that [I hardly dare ask|asking feels humiliating].
        """,
        flare="""
        - [I know how that sounds|I know, I know], and I am not proud of it.
        - [It is my own fault|I did this to myself], [really|I suppose].
        - [Writing|Saying] that down makes me [blush|cringe].
        """,
        ease="""
        - I [expected a lecture|was afraid of a lecture], and [you gave me a plan|got none]. [It means a lot|I am grateful].
        - I feel [less stupid|less ashamed] already, and I [will|am going to] tell {partner} [tonight|this weekend].
        - [Nobody|No one] has [explained|put] it [to me|] without [sighing|judging] before.
        """,
        heard="""
        - There is nothing to be ashamed of: {topic} is [rarely|hardly ever] taught, and [asking|you are asking] is the
          [hard|brave] part.
        - [Thank you|Thanks] for [being open|saying it straight]. I [hear this|have this talk] [often|more often than you think],
          and there is [always|nearly always] a way forward.
        - [No judgement here|I am not here to judge]. What [happened|lies] behind you is [information|useful to know], and the
          next step is [what counts|yours to choose].
        """,
    ),
    feeling(
        "confus|uncertain|unsure|doubt|lost|puzzl|indecis|ambival|hesita|bewild",
        start="""
        - I am [completely|rather] [lost|confused]: everybody [says|tells me] something else about {topic}.
        - I have read [{few} articles|two guides] about {topic} and [understand less than before|now I am more unsure than ever].
        - [Maybe|Perhaps] this is a [simple|silly] question, but I [cannot make sense of|do not understand] {topic}.
        - {source_cap} says one thing, {partner} [says|swears] the opposite, and I [no longer know|have no idea] what to
          [believe|think] about {topic}.
        """,
        flare="""
        - [I think|At least I think so]; [please|do] correct me if I [have it backwards|am mixing things up].
        - [Half the words|The terms] [go over my head|all blur together].
        - I [hope|trust] that [answers the question|is what you meant].
        """,
        ease="""
        - [Now it makes sense|It finally makes sense], [at least|or at least] enough to [begin|act on].
        - That [cleared up|untangled] [more|a good deal more] than [{few} articles|all my reading] did.
        - I was [going in circles|lost], and now I could [explain it to {partner}|write it on one page].
        """,
        heard="""
        - That is [understandable|no wonder]: {topic} comes with [a lot of|so much] [jargon|contradicting advice]. [Let us|We
          will] [take one piece at a time|sort it into small pieces].
        - [Good question|Not a silly question at all]. Most of the confusion about {topic} [goes away|clears] once [two or three|a
          few] facts are on the table.
        - [Let us|We can] [untangle|lay out] {topic} [slowly|in plain words], and [stop me|please stop me] whenever I [use|fall
          into] jargon.
        """,
    ),
    feeling(
        "skeptic|sceptic|suspici|distrust|mistrust|cynic|wary|guarded|cautio|defensiv",
        start="""
        - I will say it [up front|right away]: I do not [believe|trust] [most of what I hear|half of what people say] about
          {topic}.
        - [Convince me|Go on, convince me]. So far [everyone|each person] who [talked to me|advised me] about {topic} [wanted to
          sell me something|had something to gain].
        - I have [been burned|had my fingers burned] before, [in {month}|{few} years ago], so [forgive me|excuse me] if I am
          [careful|wary] about {topic}.
        - [Is there|Where is] the catch with {topic}? In my experience there is [always|usually] one.
        """,
        flare="""
        - [I will check that|You will understand that I check that], [of course|by the way].
        - That is what [they|the last one] [said|told me] in {month}, [too|as well].
        - [Who gains|And who earns] when I [do it your way|follow that]?
        """,
        ease="""
        - I [came with doubts|was sceptical], and [you answered|you did not dodge] [every one|the hard questions].
        - I [will verify|shall check] [the numbers|two of those points] [myself|on my own], but [it holds together|it sounds
          honest].
        - [No hard sell|Nobody pushed me], [which I noticed|and that counts].
        """,
        heard="""
        - [Healthy doubt|A careful eye] is [useful|an asset] here. [Check|Please check] everything I say about {topic}, and [ask
          me why|push back] [as often as you like|whenever something smells wrong].
        - That is [fair|a fair point]: with {topic}, [people often have|there is often] something to sell. I will [give
          reasons|show my reasoning] and [name the drawbacks|tell you what speaks against it].
        - [I would be wary too|In your place I would be careful as well], after {month}. Let us [stick to|work from] facts you can
          [verify|look up yourself].
        """,
    ),
    feeling(
        "joy|happ|excit|hope|optimis|enthus|eager|prou|curio|delight|motivat|inspir|thrill|cheer",
        start="""
        - I am [really|genuinely] [excited|looking forward] to [getting|finally getting] {topic} [right|sorted], and I [want|would
          love] to [start well|do it properly].
        - [Good news for once|Some good news]: [things are looking up|{month} went well], and I [finally have|have] [room|the
          energy] for {topic}.
        - I have been [reading|curious] about {topic} [for weeks|since {month}], and [honestly it is fun|I cannot wait to begin].
        - [{partner_cap} and I|We] [sat down|made tea] [{when}|on {weekday}] and [decided|agreed]: this is the year for {topic}.
          [I feel hopeful|We are thrilled].
        """,
        flare="""
        - [I love|I really like] that [this is getting concrete|we are getting somewhere].
        - [It is a good feeling|It feels great] to [say that out loud|have come this far].
        - I [already told|could not help telling] {partner} [about it|all about this].
        """,
        ease="""
        - [I am even more excited now|Now I am properly motivated], and [a bit better prepared|with my feet on the ground].
        - [What a good talk|This was fun]! I will [begin|get going] [tonight|on {weekday}].
        - I feel [ready|hopeful], and [it is good|I am glad] to know [what to watch for|where the traps are].
        """,
        heard="""
        - [That is wonderful to hear|What a good place to start from]. Energy like that [helps|is half the work] with {topic},
          [and|so] let us [give it a direction|put it to use].
        - I [like|love] [the enthusiasm|your curiosity]. Let us [keep it|hold on to it] and [add|build] a [solid|clear] plan for
          {topic} [underneath|around it].
        - [Congratulations|Good for you both], [truly|really]. A [good|hopeful] moment is the best time to [think|get clear] about
          {topic}, [before habits set in|with a cool head].
        """,
    ),
    feeling(
        "calm|neutral|relax|content|patien|compos|confiden|determin|grat|relie|trust|seren|thoughtf|reflect",
        start="""
        - I am in no [hurry|rush], but I would like to [understand|think through] {topic} [properly|before {month}].
        - Things are [steady|fine] on my side, and [that seems|it seems] a good moment to [look at|go over] {topic}.
        - I have [thought about|turned over] {topic} for [a while|some weeks], [quite calmly|without drama], and [want|would like]
          a second [opinion|pair of eyes].
        - [No emergency here|Nothing is on fire]. I [simply|just] want to [get|put] {topic} [in order|right] while there is time.
        """,
        flare="""
        - [No rush|There is no hurry] with [that|the answer], [as I said|really].
        - I am [open to|happy to hear] [either answer|other views].
        - [That is all|There is not much more to it], as far as I can [tell|see].
        """,
        ease="""
        - [That confirms|It confirms] what I [suspected|had half worked out], and [fills|closes] two gaps.
        - I feel [settled|clear] about it, and I [will take|can take] the first step [this week|on {weekday}].
        - [Clear and unhurried|Measured and clear], [just|exactly] what I [hoped for|wanted].
        """,
        heard="""
        - [That is a good way|A calm start is the best way] to [come at|approach] {topic}: [decisions made without
          pressure|unhurried decisions] tend to [last|hold up].
        - [Thank you|Thanks] for [the clear picture|laying it out]. Let us [go through|work through] {topic} in order, [and|then]
          you [can weigh it in peace|decide in your own time].
        - [Good|Glad to hear it]. With [time on your side|no pressure], we can [do|handle] {topic} [thoroughly|the careful way].
        """,
    ),
)

OTHER_FEELING = feeling(
    "",
    start="""
    - If I had to [put|find] one word [on|for] how I feel about {topic}, it would be [this|the following]: {emotion}.
    - [Since {month}|For weeks now] there is one word [in|going round] my head when I think about {topic}: {emotion}.
    - [{partner_cap} asked|A friend asked] how I [feel|really feel] about {topic}, and [all I could say|the only word I found] was
      "{emotion}".
    """,
    flare="""
    - [That feeling|The feeling] [comes and goes|has not left me], [I should add|to be fair].
    - [It moves me|It gets to me] more than I [expected|planned].
    - You can [probably|surely] [tell|hear] how I feel about that.
    """,
    ease="""
    - I feel [different|steadier] about it than [when we began|an hour ago].
    - [Something has shifted|That helped], and I can [act on it|take it from here].
    - [It is good|I am glad] to have [talked|thought it through] with somebody.
    """,
    heard="""
    - Thank you for [naming it|saying how you feel]. It [helps|tells me] [me see|a lot about] what {topic} means to you, and we
      [can start there|will keep it in view].
    - [I hear you|I understand]. What you feel about {topic} is [worth taking seriously|part of the picture], and so are [the
      facts|the numbers]. Let us [look at both|put them side by side].
    - [That is honest|That is good to know]. We can [talk about|sort out] {topic} at [whatever pace suits you|your pace].
    """,
)

MANNERS = tuple(
    Manner(begins(words), patterns(lines))
    for words, lines in (
        (
            "anxi|nerv|worri",
            """
            - I am {a_persona}, the kind who [checks|refreshes] the [account|page] {few} times [a day|before lunch].
            - [You should know|For the record], I am {a_persona}: I [read every warning twice|ask everything twice], [sorry in
              advance|bear with me].
            """,
        ),
        (
            "confiden|assert|seasoned|experienc|savvy|expert",
            """
            - I am {a_persona} and [know my way around|have done this for {years} years], so [you can skip|please skip] the
              basics.
            - As {a_persona} I [usually decide|decide most things] [myself|alone]; [this time|today] I want [a check|someone to
              test my reasoning].
            """,
        ),
        (
            "first|new|novice|begin|young|student|graduat",
            """
            - I am {a_persona}, so [assume I know nothing|please start from zero].
            - [Being|As] {a_persona}, I [have never had to|never needed to] [deal with|think about] {topic} [before|until
              {month}].
            """,
        ),
        (
            "retire|senior|elder|widow|older",
            """
            - I am {a_persona}, and [at my age|these days] I [would rather be safe than clever|prefer plain answers].
            - As {a_persona} I have [time|the patience], but [not many second chances|little room for mistakes].
            """,
        ),
        (
            "busy|business|owner|freelanc|entrepren|executive|professional",
            """
            - I am {a_persona}, so I have [about twenty minutes|half an hour] [between meetings|tonight] and [want|need] something
              [practical|I can act on].
            - As {a_persona} I [think|look at things] in [trade-offs|costs and hours], and {topic} [has eaten|is eating] both.
            """,
        ),
        (
            "parent|mother|father|mom|dad|couple|family|caregiv",
            """
            - I am {a_persona}, and [whatever I do|every choice] about {topic} [lands on|touches] the whole [household|family].
            - As {a_persona} I [do this|sort such things] after [nine in the evening|bedtime], [so forgive the typos|with one ear
              on the hallway].
            """,
        ),
    )
)

OTHER_MANNER = patterns("""
- [For context|A word about me]: I am {a_persona}, and [I take|I tend to take] {topic} [seriously|to heart].
- I should [say|mention] that I am {a_persona}, [in case it matters|which may explain the question].
- [Speaking as|As] {a_persona}, I [look at|see] {topic} [from a particular side|perhaps differently from others].
""")

NAMED = patterns("""
- [Hello|Hi|Good evening], {persona} here.
- My name is {persona}, [by the way|since we have not met].
""")

HELPER = patterns("""
- [As|Being] {a_persona}, I [prefer|like] [plain words|short answers] [to|over] [long speeches|jargon].
- [I am|You are talking to] {a_persona}, so [expect|you will get] [a clear recommendation|a straight answer] [and the reasons for
  it|with its limits].
- I work as {a_persona}, and [questions like yours|talks about {topic}] are [most of my week|what I do all day].
""")

SCENES = patterns("""
- What [brought me here|set this off]: {scenario}.
- The [background|situation], in short: {scenario}.
- [Here is|This is] what happened. {Scenario}.
""")

GREETINGS = patterns("""
- [Hello|Hi|Good morning|Good evening|Hi there],
- [Hello {agent}|Hi {agent}],
- [Thanks for taking the time|Thank you for being there].
- [I hope this is the right place|I was told you could help].
- I [would like|need] [some help|to talk to somebody].
""")

THANKS = patterns("""
- [Thank you|Thanks], that [helps|is useful|makes it clearer].
- [Good to know|That is good to know].
- [Understood|I see], [thank you|thanks].
- [Okay|All right], [that narrows it down|that tells me a lot].
- That [fits|matches] what I [suspected|expected].
- [Clear|Very clear], [and thanks for the detail|thanks for being precise].
- [Noted|I have noted that].
- [Right|Good], [then|in that case] we [have something to work with|can be specific].
""")

CHECKS = patterns("""
- Does that [match|fit] [what you see|your picture|your case]?
- [Does that make sense|Is that clear] [so far|up to here]?
- [Tell me|Please say] if [any part of that|one of these points] [sounds off|does not fit].
- How does that [sit with you|sound to you]?
- [Shall I|Should I] [go deeper|say more] on [any of this|one of these points]?
""")

HELPERS = begins(
    "advis|agent|planner|representative|consultant|coach|specialist|support|assistant|counsel|banker|expert|mentor|tutor"
)
"""Personas that answer rather than ask."""

BEFORE = patterns("""
- [Here is|This is|Below is] [the conversation|the dialogue] [you asked for|as requested]:
- [Sure|Certainly|Of course], [here is|this is] [a conversation|the dialogue] [to your brief|for the dataset]:
""")
AFTER = patterns("""
- I [kept|have kept] the tone [close to|in line with] the persona; [tell me|let me know] if you [want|would like] [another one|a
  variation].
- [Each turn|Every turn] [stays|was kept] in character. [Shall I write|Would you like] another?
""")
PLAIN = patterns("""
- [Hello|Hi]! I am [a simulated model|the simulator], and [conversations|dialogues] are [what I am good at|my one talent].
- [Understood|Noted]. Ask me for a conversation [about a topic|with a persona and a topic], and I [write|will write] one.
- [That is|This is] a short answer from the simulator, [since|because] no conversation was asked for.
""")
NO_DIALOGUE = patterns("""
- I would rather [describe|sum up] this [in my own words|as a short text] than write it as a dialogue.
- [Before|Rather than] [writing|drafting] the dialogue, let me [say|set out] what [matters|counts] about {topic}.
""")

# What a poor conversation says: two turns below 50 characters each, or four of 20 on average; both score under 6 in the rubric.
CURT = pairs("""
- [Any advice|Some advice], {agent}, [before|for] {month}? => [Hard to say|It depends], [ask again|look again] in {days} days.
- I [am stuck|have been stuck] since {weekday}, {agent}. => [Try again|Start over] in {month}, [it passes|no worries].
- [Is|Would] {percent}% [be normal|be bad] in {month}? => [Mostly fine|Not really], {agent} [here|says so], [relax|be calm].
- [Just|Please] tell me: {month} or {weekday}? => I [would|might] wait [about|some] {days} days, {agent}.
- {days} days [gone|lost], {agent}, what now? => [Do not worry|No panic], [see|wait for] {month} [first|and see].
""")
HELLO = pairs("""
- [Hi|Hello|Hey] {agent}. => [Hi|Hello|Hey], [go on|yes|tell me].
""")
BLUNT = pairs("""
- [Is {percent}% bad|Only {percent}% now|Why {percent}%]? => [Not in {month}|In {month}, no|{month} is fine].
- [By {weekday}|Before {weekday}|Till {weekday}]? => [Perhaps|Maybe|Say] {days} days.
""")
