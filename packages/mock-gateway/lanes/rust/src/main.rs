//! The bot program of test/witnesses/scenarios.ts on wecom-aibot-rust-sdk.
use std::{future::Future, sync::Arc};

use serde_json::{json, Value};
use sha2::{Digest, Sha256};
use wecom_aibot_rust_sdk::types::{SdkError, WsFrame};
use wecom_aibot_rust_sdk::{WSClient, WSClientOptions};

mod sdk;
use sdk::{body, variable, ToStderr};

#[tokio::main]
async fn main() {
    let mut options = WSClientOptions::new(variable("WECOM_BOT_ID"), variable("WECOM_BOT_SECRET"));
    options.ws_url = Some(variable("WECOM_BOT_WS_URL"));
    options.logger = Some(Arc::new(ToStderr));
    let client = WSClient::new(options);

    let text = or_say(&client, on_text);
    client.on_message_text(text).await;
    let image = or_say(&client, on_image);
    client.on_message_image(image).await;
    let enter = or_say(&client, |client, frame| async move {
        let welcome = json!({"msgtype": "text", "text": {"content": "welcome"}});
        client.reply_welcome(&frame, welcome).await.map(drop)
    });
    client.on_event_enter_chat(enter).await;
    let click = or_say(&client, |client, frame| async move {
        client.update_template_card(&frame, card("approved"), None).await.map(drop)
    });
    client.on_event_template_card(click).await;
    client
        .on_event(|frame| {
            if body(frame)["event"]["eventtype"] == "disconnected_event" {
                println!("kicked");
            }
        })
        .await;

    client.connect().await.unwrap();
    let _ = tokio::signal::ctrl_c().await;
}

async fn on_text(client: WSClient, frame: WsFrame) -> Result<(), SdkError> {
    let user = body(&frame)["from"]["userid"].as_str().unwrap_or_default();
    let text = body(&frame)["text"]["content"].as_str().unwrap_or_default();
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match word {
        "stream" => {
            let half: String = rest.chars().take(rest.chars().count() / 2).collect();
            client.reply_stream(&frame, "stream-1", &half, false, None, None).await?;
            client.reply_stream(&frame, "stream-1", rest, true, None, None).await?;
        }
        "card" => {
            client.reply_template_card(&frame, card("approve?"), None).await?;
        }
        "push" => {
            let pushed = json!({"msgtype": "markdown", "markdown": {"content": "**pushed**"}});
            client.send_message(user, pushed).await?;
        }
        "file" => {
            let parts: Vec<u8> = (0..1_300_000u32).map(|i| (7 * i + (i >> 8)) as u8).collect();
            let uploaded = client.upload_media("file", &parts, "parts.bin").await?;
            let Some(media_id) = uploaded["media_id"].as_str() else {
                return Err(SdkError::WebSocket(format!("the upload returned no media_id: {uploaded}")));
            };
            let file = json!({"msgtype": "file", "file": {"media_id": media_id}});
            client.send_message(user, file).await?;
        }
        _ => {}
    }
    Ok(())
}

async fn on_image(client: WSClient, frame: WsFrame) -> Result<(), SdkError> {
    let image = &body(&frame)["image"];
    let url = image["url"].as_str().unwrap_or_default();
    let (clear, _filename) = client.download_file(url, image["aeskey"].as_str()).await?;
    let digest: String = Sha256::digest(&clear).iter().map(|byte| format!("{byte:02x}")).collect();
    let answer = format!("{digest} {}", clear.len());
    client.reply_stream(&frame, &format!("stream-{}", &digest[..16]), &answer, true, None, None).await?;
    Ok(())
}

fn card(title: &str) -> Value {
    json!({
        "card_type": "button_interaction",
        "main_title": {"title": title},
        "button_list": [{"text": "Approve", "key": "approve", "style": 1}],
        "task_id": "task-1",
    })
}

/// A handler in the form the client takes, which streams what went wrong.
fn or_say<H, F>(client: &WSClient, handle: H) -> impl Fn(&WsFrame) + Send + Sync + 'static
where
    H: Fn(WSClient, WsFrame) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), SdkError>> + Send + 'static,
{
    let client = client.clone();
    move |frame| {
        let handled = handle(client.clone(), frame.clone());
        let (client, frame) = (client.clone(), frame.clone());
        tokio::spawn(async move {
            if let Err(error) = handled.await {
                let failed = format!("failed: {error}");
                let _ = client.reply_stream(&frame, "failure", &failed, true, None, None).await;
            }
        });
    }
}
