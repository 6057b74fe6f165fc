"""When all agents at work only wait for a model service that does not answer."""

from codexteam.agent.event_fields import AgentEvent, CallRetried, CallSent, StreamBegan, TurnAnswered, TurnStarted
from codexteam.agent.outage import ASKING_SECONDS, SILENT_SECONDS, Outage
from codexteam.core.ids import AgentKey, Purpose, RunId

ONE, TWO = (AgentKey(RunId("20260102-0304-abcd"), "implementer", Purpose.IMPLEMENT, name, 1) for name in ("T1", "T2"))
RETRY = CallRetried("refused", 1.0, 2)
BEGAN = TurnStarted(1)
SENT = CallSent()


def test_nobody_at_work_is_no_outage() -> None:
    assert not Outage().is_all(1e6)


def _after(*events: tuple[AgentKey, AgentEvent]) -> Outage:
    outage = Outage()
    outage.begins(ONE, 0.0)
    outage.begins(TWO, 0.0)
    for agent, event in events:
        outage.take(agent, event, 0.0)
    return outage


def test_it_is_one_once_every_agent_asks_again_and_until_one_is_answered() -> None:
    assert not _after((ONE, RETRY)).is_all(0.0), "the other starts"
    assert _after((ONE, RETRY), (TWO, RETRY)).is_all(0.0)
    assert _after((ONE, RETRY), (TWO, RETRY), (ONE, SENT)).is_all(0.0), "asked again is not answered"
    assert not _after((ONE, RETRY), (TWO, RETRY), (ONE, TurnAnswered(1))).is_all(1e6)
    assert not _after((ONE, RETRY), (TWO, RETRY), (TWO, TurnStarted(2))).is_all(0.0)


def test_who_queues_behind_anothers_back_off_waits_for_the_service_too() -> None:
    outage = _after((ONE, RETRY), (TWO, BEGAN))
    assert not outage.is_all(ASKING_SECONDS - 0.1), "it may get its place yet"
    assert outage.is_all(ASKING_SECONDS)


def test_a_connection_that_nobody_takes_is_an_outage() -> None:
    assert _after((ONE, BEGAN), (TWO, BEGAN)).is_all(ASKING_SECONDS)


def test_a_call_that_was_sent_is_waited_for_once_the_service_took_one() -> None:
    both = ((ONE, BEGAN), (TWO, BEGAN), (ONE, SENT), (TWO, SENT))
    assert not _after(*both).is_all(SILENT_SECONDS - 0.1)
    assert _after(*both).is_all(SILENT_SECONDS), "nobody has heard anything of it"
    assert not _after(*both, (ONE, StreamBegan())).is_all(1e6)
    assert not _after((ONE, StreamBegan()), *both).is_all(1e6)


def test_who_is_at_work_no_more_does_not_count() -> None:
    outage = _after((ONE, RETRY))
    outage.ends(TWO)
    assert outage.is_all(0.0)
