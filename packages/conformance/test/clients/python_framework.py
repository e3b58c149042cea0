"""A bot on wecom-ai-bot-ws-svr that keeps the echo contract as far as the framework can.

What the framework does by itself is left to it: no option is set but those that the lanes scale.
"""

import asyncio
import os
import tempfile
import uuid

from wecom_ai_bot_ws_svr import RspStreamMsg, RspTemplateCardMsg, RspTextMsg, WecomAIBotWsServer
from wecom_aibot_sdk.types.message import CardButton, CardTitle, TemplateCard

from contract import card, durations, words

# It reads the bot's id, its secret and the address from the environment by itself.
server = WecomAIBotWsServer(**durations())


async def on_message(message):
    if message.msg_type != "text":
        return None
    word, argument, text = words(message.content)
    if word == "!stream":
        return grow(int(argument))
    if word == "!push":
        await server.send_markdown(message.chat_id or message.from_userid, argument)
        return None
    if word == "!upload":
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "file.bin")
            with open(path, "wb") as file:
                file.write(b"b" * int(argument))
            await server.send_file(message.chat_id or message.from_userid, path)
        return None
    if word == "!card":
        return RspTemplateCardMsg(template_card=card("Press the button"))
    if word == "!fail":
        raise RuntimeError("this handler was asked to fail")
    if word == "!slow":
        await asyncio.sleep(int(argument) / 1000)
        return RspTextMsg(content=f"that took {argument} ms")
    return RspTextMsg(content=f"echo: {text}")


async def grow(count):
    stream_id, said = f"stream-{uuid.uuid4().hex}", ""
    for at in range(1, count + 1):
        said += f"word{at} "
        yield RspStreamMsg(content=said, stream_id=stream_id, finish=at == count)
        await asyncio.sleep(0.15)


async def on_event(event):
    if event.event_type == "enter_chat":
        return {"msgtype": "text", "text": {"content": "welcome"}}
    if event.event_type == "template_card_event":
        # An answer that is returned from here goes out as aibot_respond_msg, so the update has to be the SDK's.
        pressed = TemplateCard(
            card_type="button_interaction",
            main_title=CardTitle(title="You pressed it"),
            button_list=[CardButton(text="Press", key="press")],
            task_id=event.body["event"]["template_card_event"]["task_id"],
        )
        await server.client.update_template_card(event.frame, pressed)
    return None


server.set_message_handler(on_message)
server.set_event_handler(on_event)
server.run()
