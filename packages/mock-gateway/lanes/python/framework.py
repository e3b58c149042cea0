# A bot on wecom-ai-bot-ws-svr, a handler framework that reads the environment by itself: echoes, uploads.
import tempfile

from wecom_ai_bot_ws_svr import RspFileMsg, RspTextMsg, WecomAIBotWsServer


def on_message(message, _server):
    if message.msg_type != "text":
        return RspTextMsg(f"msg_type: {message.msg_type}")
    if message.content.startswith("!upload "):
        with tempfile.NamedTemporaryFile(suffix=".bin", delete=False) as file:
            file.write(bytes(int(message.content.split()[1])))
        return RspFileMsg(file_path=file.name)
    return RspTextMsg("echo: " + message.content)


server = WecomAIBotWsServer()
server.set_message_handler(on_message)
server.run()
