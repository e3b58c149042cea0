//! What every bot on wecom-aibot-rust-sdk needs, whatever it does: its settings, and a log that is not on stdout. The bot of the
//! conformance suite has it from here, too.
use std::env;

use serde_json::Value;
use wecom_aibot_rust_sdk::types::{Logger, WsFrame};

pub fn body(frame: &WsFrame) -> &Value {
    frame.body.as_ref().unwrap_or(&Value::Null)
}

pub fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

/// The client's own logger writes to stdout.
pub struct ToStderr;

impl Logger for ToStderr {
    fn debug(&self, _message: &str) {}
    fn info(&self, message: &str) {
        eprintln!("{message}");
    }
    fn warn(&self, message: &str) {
        eprintln!("{message}");
    }
    fn error(&self, message: &str) {
        eprintln!("{message}");
    }
}
