// A bot on wecom-aibot-rust-sdk: echoes by stream, welcomes.
use std::env;

use serde_json::{json, Value};
use wecom_aibot_rust_sdk::{generate_req_id, WSClient, WSClientOptions};

#[tokio::main]
async fn main() {
    let mut options = WSClientOptions::new(
        env::var("WECOM_BOT_ID").unwrap(),
        env::var("WECOM_BOT_SECRET").unwrap(),
    );
    options.ws_url = Some(env::var("WECOM_BOT_WS_URL").unwrap());
    let client = WSClient::new(options);

    let speaker = client.clone();
    client
        .on_message_text(move |frame| {
            let (speaker, frame) = (speaker.clone(), frame.clone());
            tokio::spawn(async move {
                let body = frame.body.as_ref().unwrap_or(&Value::Null);
                let text = format!("echo: {}", body["text"]["content"].as_str().unwrap_or(""));
                let stream = generate_req_id("stream");
                let _ = speaker.reply_stream(&frame, &stream, "echo", false, None, None).await;
                let _ = speaker.reply_stream(&frame, &stream, &text, true, None, None).await;
            });
        })
        .await;

    let host = client.clone();
    client
        .on_event_enter_chat(move |frame| {
            let (host, frame) = (host.clone(), frame.clone());
            tokio::spawn(async move {
                let welcome = json!({"msgtype": "text", "text": {"content": "welcome"}});
                let _ = host.reply_welcome(&frame, welcome).await;
            });
        })
        .await;

    client.connect().await.unwrap();
    let _ = tokio::signal::ctrl_c().await;
}
