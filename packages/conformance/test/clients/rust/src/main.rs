//! A bot on wecom-aibot-rust-sdk that keeps the echo contract as far as the SDK can. What the SDK does by itself is left to
//! it: no option is set but those that the lanes scale.
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{env, future::Future, sync::Arc};

use serde_json::{json, Value};
use tokio::signal::unix::{signal, SignalKind};
use wecom_aibot_rust_sdk::types::{SdkError, WsFrame};
use wecom_aibot_rust_sdk::{WSClient, WSClientOptions};

#[path = "../../../../../mock-gateway/lanes/rust/src/sdk.rs"]
mod sdk;
use sdk::{body, variable, ToStderr};

#[tokio::main]
async fn main() {
    let mut options = WSClientOptions::new(variable("WECOM_BOT_ID"), variable("WECOM_BOT_SECRET"));
    options.ws_url = Some(variable("WECOM_BOT_WS_URL"));
    options.logger = Some(Arc::new(ToStderr));
    if let Some(ms) = duration("WECOM_HEARTBEAT_MS") {
        options.heartbeat_interval = ms;
    }
    if let Some(ms) = duration("WECOM_ACK_MS") {
        options.request_timeout = ms;
    }
    if let Some(ms) = duration("WECOM_BACKOFF_BASE_MS") {
        options.reconnect_interval = ms;
    }
    let client = WSClient::new(options);

    client.on_message_text(handler(&client, on_text)).await;
    let enter = handler(&client, |client, frame| async move {
        let welcome = json!({"msgtype": "text", "text": {"content": "welcome"}});
        client.reply_welcome(&frame, welcome).await.map(drop)
    });
    client.on_event_enter_chat(enter).await;
    let click = handler(&client, |client, frame| async move {
        let task_id = body(&frame)["event"]["template_card_event"]["task_id"].as_str().unwrap_or_default().to_owned();
        client.update_template_card(&frame, card("You pressed it", &task_id), None).await.map(drop)
    });
    client.on_event_template_card(click).await;

    if let Err(error) = client.connect().await {
        eprintln!("connect: {error}");
    }
    signal(SignalKind::terminate()).unwrap().recv().await;
}

async fn on_text(client: WSClient, frame: WsFrame) -> Result<(), SdkError> {
    let content = body(&frame)["text"]["content"].as_str().unwrap_or_default();
    // In a group every text begins with the mention of the bot.
    let mention = format!("@{} ", env::var("WECOM_BOT_NAME").unwrap_or_default());
    let text = content.strip_prefix(&mention).unwrap_or(content);
    let (word, argument) = text.split_once(' ').unwrap_or((text, ""));
    let number: u64 = argument.parse().unwrap_or_default();
    match word {
        "!stream" => {
            let (id, mut said) = (fresh("stream"), String::new());
            for at in 1..=number {
                said += &format!("word{at} ");
                client.reply_stream(&frame, &id, &said, at == number, None, None).await?;
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
        }
        "!push" => {
            let user = body(&frame)["from"]["userid"].as_str().unwrap_or_default();
            let chat = body(&frame)["chatid"].as_str().unwrap_or(user);
            let pushed = json!({"msgtype": "markdown", "markdown": {"content": argument}});
            client.send_message(chat, pushed).await?;
        }
        "!upload" => {
            let uploaded = client.upload_media("file", &vec![98; number as usize], "file.bin").await?;
            let file = json!({"msgtype": "file", "file": {"media_id": uploaded["media_id"]}});
            client.reply(&frame, file, None).await?;
        }
        "!card" => {
            client.reply_template_card(&frame, card("Press the button", &fresh("task")), None).await?;
        }
        "!fail" => return Err(SdkError::WebSocket("this handler was asked to fail".into())),
        "!slow" => {
            tokio::time::sleep(Duration::from_millis(number)).await;
            client.reply_stream(&frame, &fresh("stream"), &format!("that took {number} ms"), true, None, None).await?;
        }
        _ => {
            client.reply_stream(&frame, &fresh("stream"), &format!("echo: {text}"), true, None, None).await?;
        }
    }
    Ok(())
}

fn card(title: &str, task_id: &str) -> Value {
    json!({
        "card_type": "button_interaction",
        "main_title": {"title": title},
        "button_list": [{"text": "Press", "key": "press", "style": 1}],
        "task_id": task_id,
    })
}

/// A handler in the form the client takes; what it fails of is logged.
fn handler<H, F>(client: &WSClient, handle: H) -> impl Fn(&WsFrame) + Send + Sync + 'static
where
    H: Fn(WSClient, WsFrame) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), SdkError>> + Send + 'static,
{
    let client = client.clone();
    move |frame| {
        let handled = handle(client.clone(), frame.clone());
        tokio::spawn(async move {
            if let Err(error) = handled.await {
                eprintln!("failed: {error}");
            }
        });
    }
}

static IDS: AtomicU64 = AtomicU64::new(0);

fn fresh(prefix: &str) -> String {
    format!("{prefix}-{}-{}", std::process::id(), IDS.fetch_add(1, Ordering::Relaxed))
}

fn duration(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}
