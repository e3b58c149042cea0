"""The bot program of scenarios.ts on wecom-ai-bot-ws-svr, and on its SDK for what the framework leaves to it."""

import os
import tempfile

from wecom_ai_bot_ws_svr import RspStreamMsg, RspTemplateCardMsg, RspTextMsg, WecomAIBotWsServer
from wecom_aibot_sdk.types.message import CardButton, CardTitle, TemplateCard

from material import card, described, parts

# It reads the bot's id, its secret and the address from the environment by itself.
server = WecomAIBotWsServer()


async def on_message(message):
    user = message.from_userid
    if message.msg_type == "image":
        clear, _filename = await server.download_file(message.image_url, message.aes_key)
        return RspTextMsg(content=described(clear))
    word, _, rest = message.content.partition(" ")
    if word == "stream":
        return grow(rest)
    if word == "card":
        return RspTemplateCardMsg(template_card=card("approve?"))
    if word == "push":
        await server.send_markdown(user, "**pushed**")
    elif word == "file":
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "parts.bin")
            with open(path, "wb") as file:
                file.write(parts())
            await server.send_file(user, path)
    return None


async def grow(words):
    yield RspStreamMsg(content=words[: len(words) // 2], stream_id="stream-1", finish=False)
    yield RspStreamMsg(content=words, stream_id="stream-1", finish=True)


async def on_event(event):
    if event.event_type == "enter_chat":
        return {"msgtype": "text", "text": {"content": "welcome"}}
    if event.event_type == "template_card_event":
        # An answer that is returned from here goes out as aibot_respond_msg, so the update has to be the SDK's.
        approved = TemplateCard(
            card_type="button_interaction",
            main_title=CardTitle(title="approved"),
            button_list=[CardButton(text="Approve", key="approve")],
            task_id="task-1",
        )
        await server.client.update_template_card(event.frame, approved)
    elif event.event_type == "disconnected_event":
        print("kicked")
    return None


async def on_error(error, frame):
    await server.client.reply_stream(frame, "failure", f"failed: {error!r}", True)


server.set_message_handler(on_message)
server.set_event_handler(on_event)
server.set_error_handler(on_error)
server.run()
