"""Who is told that a message reaches nobody any more."""

from codexteam.core.ids import AgentKey, Purpose, RunId
from codexteam.run.reachable_agents import ReachableAgents, mailbox_name

AGENT = AgentKey(RunId("r"), "implementer", Purpose.IMPLEMENT, "T1", 1)
NAME = mailbox_name(AGENT)


def test_a_message_reaches_an_agent_until_its_last_turn() -> None:
    agents = ReachableAgents()

    assert agents.say(NAME, "before")
    with agents.reached(AGENT) as (mailbox, _):
        assert agents.say(NAME, "while")
        assert mailbox.waiting() == ("before", "while")
    assert not agents.say(NAME, "after")
    assert agents.say("T1.2", "to the next attempt")


def test_an_agent_that_works_again_is_reached_again() -> None:
    agents = ReachableAgents()
    with agents.reached(AGENT):
        pass

    with agents.reached(AGENT) as (mailbox, _):
        assert agents.say(NAME, "again")
        assert mailbox.waiting() == ("again",)
