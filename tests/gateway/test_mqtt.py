"""The client of a real broker: acked when durable, delivered again when not."""

import asyncio
import sys
from collections import Counter
from dataclasses import replace

import pytest

from gateway.supervisor import Backoff
from gateway.transports import mqtt
from model.device import Durability, IdentityStrength
from tests.gateway.mosquitto import Broker
from tests.gateway.subscriber import (
    WITHIN_S,
    Gateway,
    publish,
    publishing,
    queued_for,
    running,
    settings_at,
)


@pytest.fixture
async def broker(tmp_path):
    broker = Broker(tmp_path)
    await broker.start()
    yield broker
    broker.kill()


async def test_a_message_reaches_its_device_whole(broker):
    async with running(settings_at(broker), Gateway()) as gateway:
        await publish(broker, "frames/gt06/1", b"one", b"two")
        await publish(broker, "frames/gt06/2", b"\x78\x78\x00\xff")
        await gateway.heard(3)
    first, second = gateway.conversations
    assert (first.payloads, second.payloads) == ([b"one", b"two"], [b"\x78\x78\x00\xff"])
    assert (first.boundaries, second.boundaries) == (2, 1)
    info = first.link.info
    assert (info.transport, info.peer, info.ident) == ("mqtt", "frames/gt06/1", "1")
    assert (info.strength, info.durability) == (IdentityStrength.NONE, Durability.BROKER)
    assert info.network == ""
    assert first.ends == [None]  # at the end of the run, not before
    assert await queued_for(broker) == []


async def test_owntracks_topics_of_one_device_are_one_link(broker):
    async with running(settings_at(broker, "owntracks"), Gateway()) as gateway:
        await publish(broker, "owntracks/ann/phone", b"{}")
        await publish(broker, "owntracks/ann/phone/event", b"{1}")
        await publish(broker, "owntracks/ann/phone/cmd", b"{2}")
        await publish(broker, "owntracks/ann/watch", b"{3}")
        await gateway.heard(3)
    assert [c.payloads for c in gateway.conversations] == [[b"{}", b"{1}"], [b"{3}"]]
    assert await queued_for(broker) == []  # the command was acked too


async def test_what_is_not_done_is_not_acked_and_comes_again(broker):
    settings = settings_at(broker)
    async with running(settings, Gateway(store=False)) as gateway:
        await publish(broker, "frames/gt06/1", *[b"%d" % n for n in range(10)])
        await gateway.heard(10)
        for done in gateway.unconfirmed[:4]:
            done()
    await publish(broker, "frames/gt06/1", b"while away")
    async with running(settings, Gateway()) as gateway:
        await gateway.heard(7)
    assert gateway.payloads == [b"%d" % n for n in range(4, 10)] + [b"while away"]
    assert await queued_for(broker) == []


async def test_what_a_killed_gateway_had_not_stored_comes_to_the_next(broker):
    """One that is killed with messages in hand, without a word to the broker."""
    program = f"""
import asyncio
from gateway.transports import mqtt

class Silent:
    count = 0
    def received(self, data, done):
        self.count += 1
        if self.count == 3:
            done()
        if self.count == 10:
            print("ten", flush=True)
    def boundary(self): pass
    def lost(self, error): pass

silent = Silent()
settings = mqtt.settings_from("mqtt://127.0.0.1:{broker.port}", "gt06", client_id="gateway")
asyncio.run(mqtt.run(settings, lambda link: silent, report=lambda text: print(text, flush=True)))
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(WITHIN_S):
            while b"subscribed" not in await process.stdout.readline():
                pass
            await publish(broker, "frames/gt06/1", *[b"%d" % n for n in range(10)])
            await process.stdout.readline()
    finally:
        process.kill()
        await process.wait()
    await broker.forgets("gateway")
    async with running(settings_at(broker), Gateway()) as gateway:
        await gateway.heard(9)
    assert gateway.payloads == [b"%d" % n for n in range(10) if n != 2]
    assert await queued_for(broker) == []


async def test_a_gateway_that_is_stopped_at_any_moment_leaves_no_connection_behind(broker):
    for step in range(60):
        gateway = Gateway()
        task = asyncio.create_task(
            mqtt.run(settings_at(broker), gateway.accept, report=gateway.report)
        )
        await asyncio.sleep(step / 5000)  # from before the connection until after it
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await asyncio.get_running_loop().run_in_executor(None, lambda: None)
    await broker.forgets("gateway")
    async with running(settings_at(broker), Gateway()) as gateway:
        await publish(broker, "frames/gt06/1", b"one")
        await gateway.heard(1)
    assert await queued_for(broker) == []


async def test_a_done_after_its_connection_is_no_ack_on_the_next(broker):
    """Message identifiers begin anew: the late ack would confirm somebody else's message."""
    settings = settings_at(broker)
    async with running(settings, Gateway(store=False)) as gateway:
        await publish(broker, "frames/gt06/1", b"one", b"two")
        await gateway.heard(2)
        broker.stop()
        await broker.start()
        await gateway.heard(4)  # both again
        for done in gateway.unconfirmed[:2]:
            done()
    assert sorted(await queued_for(broker)) == [b"one", b"two"]


async def test_links_live_through_a_broken_connection(broker):
    async with running(settings_at(broker), Gateway()) as gateway:
        await publish(broker, "frames/gt06/1", b"one")
        await gateway.heard(1)
        broker.stop()
        await gateway.until(lambda: any("connection lost" in text for text in gateway.told))
        await broker.start()
        await gateway.until(lambda: sum("subscribed" in text for text in gateway.told) == 2)
        await publish(broker, "frames/gt06/1", b"two")
        await gateway.heard(2)
        assert len(gateway.conversations) == 1


async def test_a_broker_that_is_not_there_yet_is_waited_for(broker):
    broker.stop()
    gateway = Gateway()
    backoff = Backoff(first_s=0.02, longest_s=0.1)
    task = asyncio.create_task(
        mqtt.run(settings_at(broker), gateway.accept, report=gateway.report, backoff=backoff)
    )
    await gateway.until(lambda: any("trying again" in text for text in gateway.told))
    await broker.start()
    await gateway.until(lambda: any("subscribed" in text for text in gateway.told))
    await publish(broker, "frames/gt06/1", b"one")
    await gateway.heard(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_storage_failure_closes_the_session_and_the_broker_sends_again(broker):
    async with running(settings_at(broker), Gateway(store=False)) as gateway:
        await publish(broker, "frames/gt06/1", b"one", b"two")
        await gateway.heard(2)
        gateway.unconfirmed.clear()
        gateway.store = True
        gateway.conversations[0].link.close()
        await gateway.heard(4)
        first, second = gateway.conversations
        assert (first.payloads, second.payloads) == ([b"one", b"two"], [b"one", b"two"])
        assert sum("could not be stored" in text for text in gateway.told) == 1
        assert not any("trying again" in text for text in gateway.told)  # the link is in order
    assert await queued_for(broker) == []


async def test_storage_that_fails_again_and_again_is_asked_again_and_again(broker):
    class Failing(Gateway):
        def received(self, conversation, data, done):
            self.payloads.append(data)
            if len(self.payloads) < 6:
                conversation.link.close()
            else:
                done()
            self.changed.set()

    async with running(settings_at(broker), Failing()) as gateway:
        await publish(broker, "frames/gt06/1", b"one")
        await gateway.heard(6)
        await publish(broker, "frames/gt06/1", b"two")
        await gateway.heard(7)
        assert len(gateway.conversations) == 6
        assert sum("could not be stored" in text for text in gateway.told) == 1
    assert await queued_for(broker) == []


async def test_other_devices_go_on_while_one_cannot_be_stored(tmp_path):
    broker = Broker(tmp_path, "max_inflight_messages 0")
    await broker.start()

    class Partial(Gateway):
        def received(self, conversation, data, done):
            if conversation.link.info.ident == "bad":
                conversation.link.close()
            else:
                super().received(conversation, data, done)

    async with running(settings_at(broker), Partial()) as gateway:
        async with publishing(broker) as client:
            for n in range(100):
                await client.publish("frames/gt06/bad", b"x", qos=1)
                await client.publish("frames/gt06/good", b"%d" % n, qos=1)
        await gateway.until(lambda: len(set(gateway.payloads)) == 100)
    broker.kill()


async def test_a_session_closed_with_commits_on_their_way_needs_no_redelivery(broker):
    async with running(settings_at(broker), Gateway(store=False)) as gateway:
        await publish(broker, "frames/gt06/1", b"one")
        await gateway.heard(1)
        gateway.conversations[0].link.close()
        gateway.confirm()
        gateway.store = True
        await publish(broker, "frames/gt06/1", b"two")
        await gateway.heard(2)
        await asyncio.sleep(0.3)  # several waits before a redelivery
        assert gateway.payloads == [b"one", b"two"]
        assert sum("subscribed" in text for text in gateway.told) == 1


async def test_a_refused_link_takes_no_harm_and_its_message_comes_again(broker):
    class Refusing(Gateway):
        def accept(self, link):
            conversation = super().accept(link)
            if len(self.conversations) == 1:
                link.close()
            return conversation

        def received(self, conversation, data, done):
            if not conversation.link.closed:
                super().received(conversation, data, done)

    async with running(settings_at(broker), Refusing()) as gateway:
        await publish(broker, "frames/gt06/1", b"one")
        await gateway.heard(1)
        assert len(gateway.conversations) == 2


@pytest.mark.parametrize("qos", [0, 1])
async def test_the_window_holds_whatever_the_broker_would_send(tmp_path, qos):
    broker = Broker(tmp_path, "max_inflight_messages 0")
    await broker.start()
    try:
        settings = settings_at(broker, max_inflight=50)
        async with running(settings, Gateway(store=False)) as gateway:
            async with publishing(broker) as client:
                for start in range(0, 3000, 100):
                    await asyncio.gather(
                        *(
                            client.publish(f"frames/gt06/{n % 7}", b"%d" % n, qos=qos)
                            for n in range(start, start + 100)
                        )
                    )
            await gateway.heard(50)
            assert len(gateway.unconfirmed) == 50
            while len(gateway.payloads) < 3000:
                gateway.confirm()
                await gateway.heard(len(gateway.payloads) + 1)
                assert len(gateway.unconfirmed) <= 50
            gateway.confirm()
            assert Counter(gateway.payloads) == Counter(b"%d" % n for n in range(3000))
            assert sum("subscribed" in text for text in gateway.told) == 1
        assert await queued_for(broker) == []
    finally:
        broker.kill()


async def test_gateways_of_a_group_share_the_messages(broker):
    one, two = Gateway(), Gateway()
    async with (
        running(settings_at(broker, client_id="one", group="fleet"), one),
        running(settings_at(broker, client_id="two", group="fleet"), two),
    ):
        await publish(broker, "frames/gt06/1", *[b"%d" % n for n in range(200)])
        async with asyncio.timeout(WITHIN_S):
            while len(one.payloads) + len(two.payloads) < 200:
                await asyncio.sleep(0.01)
    assert one.payloads
    assert two.payloads
    assert Counter(one.payloads + two.payloads) == Counter(b"%d" % n for n in range(200))


async def test_a_member_of_a_group_that_comes_back_gets_what_it_had_not_acked(broker):
    one, two = Gateway(store=False), Gateway()
    lasting = settings_at(broker, client_id="two", group="fleet")
    member = settings_at(broker, client_id="one", group="fleet")
    async with running(lasting, two):
        async with running(member, one):
            await publish(broker, "frames/gt06/1", *[b"%d" % n for n in range(40)])
            await one.until(lambda: len(one.payloads) >= 20)
        one.store = True
        async with running(member, one):
            async with asyncio.timeout(WITHIN_S):
                while len({*one.payloads, *two.payloads}) < 40:
                    await asyncio.sleep(0.01)
    assert await queued_for(broker, "one") == []
    assert await queued_for(broker, "two") == []


async def test_a_retained_message_comes_with_each_subscription_and_is_acked(broker):
    await publish(broker, "frames/gt06/1", b"kept", retain=True)
    for _ in range(2):
        async with running(settings_at(broker), Gateway()) as gateway:
            await gateway.heard(1)
        assert gateway.payloads == [b"kept"]
    async with running(settings_at(broker), Gateway()) as gateway:
        await gateway.heard(1)
        await publish(broker, "frames/gt06/1", b"", retain=True)  # clears it: not a message
        await publish(broker, "frames/gt06/1", b"after")
        await gateway.heard(2)
    assert gateway.payloads == [b"kept", b"after"]


async def test_topics_that_name_no_device_are_acked_and_told_once(broker):
    async with running(settings_at(broker), Gateway()) as gateway:
        for _ in range(3):
            await publish(broker, "frames/gt06/" + "9" * 65, b"x")
        await publish(broker, "frames/gt06/1", b"y")
        await gateway.heard(1)
        assert gateway.payloads == [b"y"]
        assert sum("name no device" in text for text in gateway.told) == 1
    assert await queued_for(broker) == []


async def test_links_are_bounded_and_the_quietest_goes_first(broker):
    settings = replace(settings_at(broker), max_links=3)
    async with running(settings, Gateway()) as gateway:
        for ident in ("1", "2", "3", "1", "4", "2"):
            await publish(broker, f"frames/gt06/{ident}", ident.encode())
        await gateway.heard(6)
        idents = [c.link.info.ident for c in gateway.conversations]
        assert idents == ["1", "2", "3", "4", "2"]
        assert [bool(c.ends) for c in gateway.conversations] == [False, True, True, False, False]


async def test_a_link_that_waits_for_its_commit_is_never_closed_for_room(broker):
    settings = replace(settings_at(broker), max_links=2)
    async with running(settings, Gateway(store=False)) as gateway:
        await publish(broker, "frames/gt06/1", b"1")
        await gateway.heard(1)
        gateway.store = True
        for ident in ("2", "3", "4"):
            await publish(broker, f"frames/gt06/{ident}", ident.encode())
        await gateway.heard(4)
        assert not gateway.conversations[0].ends
        gateway.confirm()
    assert await queued_for(broker) == []


async def test_where_every_link_waits_there_is_room_for_one_more(broker):
    settings = replace(settings_at(broker), max_links=1)
    async with running(settings, Gateway(store=False)) as gateway:
        for ident in ("1", "2", "1"):
            await publish(broker, f"frames/gt06/{ident}", ident.encode())
        await gateway.heard(3)
        assert [c.link.info.ident for c in gateway.conversations] == ["1", "2"]
        assert not any(c.ends for c in gateway.conversations)
        gateway.confirm()
    assert await queued_for(broker) == []


async def test_a_paused_device_waits_and_the_others_do_not(broker):
    async with running(settings_at(broker), Gateway()) as gateway:
        await publish(broker, "frames/gt06/1", b"a")
        await gateway.heard(1)
        link = gateway.conversations[0].link
        link.pause()
        await publish(broker, "frames/gt06/1", b"b", b"c", b"d")
        await publish(broker, "frames/gt06/2", b"x")
        await gateway.heard(2)
        assert gateway.payloads == [b"a", b"x"]
        gateway.conversations[0].boundary = link.pause  # pause anew after each message
        link.resume()
        assert gateway.payloads == [b"a", b"x", b"b"]
        await publish(broker, "frames/gt06/1", b"e")
        await publish(broker, "frames/gt06/2", b"y")
        await gateway.heard(4)
        del gateway.conversations[0].boundary
        link.resume()
        await gateway.heard(7)
        assert gateway.payloads == [b"a", b"x", b"b", b"y", b"c", b"d", b"e"]
    assert await queued_for(broker) == []


async def test_what_waits_at_a_paused_device_comes_once_after_a_broken_connection(broker):
    async with running(settings_at(broker), Gateway()) as gateway:
        await publish(broker, "frames/gt06/1", b"a")
        await gateway.heard(1)
        link = gateway.conversations[0].link
        link.pause()
        await publish(broker, "frames/gt06/1", b"b")
        await publish(broker, "frames/gt06/2", b"x")
        await gateway.heard(2)
        broker.stop()
        await gateway.until(lambda: any("connection lost" in text for text in gateway.told))
        await broker.start()
        await publish(broker, "frames/gt06/2", b"y")
        await gateway.until(lambda: b"y" in gateway.payloads)
        link.resume()
        await gateway.until(lambda: b"b" in gateway.payloads)
    assert gateway.payloads.count(b"b") == 1
    assert await queued_for(broker) == []


async def test_a_closed_link_takes_no_harm(broker):
    async with running(settings_at(broker), Gateway()) as gateway:
        await publish(broker, "frames/gt06/1", b"1")
        await gateway.heard(1)
        link = gateway.conversations[0].link
        link.close()
        link.close()
        link.pause()
        link.resume()
        link.write(b"late")
        await publish(broker, "frames/gt06/1", b"2")
        await gateway.heard(2)
        assert len(gateway.conversations) == 2
