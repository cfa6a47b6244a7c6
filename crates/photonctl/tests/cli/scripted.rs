//! A service whose answers are written down before.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::Response,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// Answers by `METHOD path`, each the last one again when there is none behind it; what is not written down is 404.
pub(crate) struct Scripted {
    pub(crate) address: String,
    heard: Arc<Mutex<Heard>>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Heard {
    answers: HashMap<String, VecDeque<Value>>,
    asked: Vec<String>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Scripted {
    /// An answer is what stands in `data`; `null` is 404.
    pub(crate) async fn start(script: &[(&str, &[Value])]) -> Self {
        let written = |(line, answers): &(&str, &[Value])| {
            ((*line).to_owned(), answers.iter().cloned().collect())
        };
        let heard = Arc::new(Mutex::new(Heard {
            answers: script.iter().map(written).collect(),
            asked: Vec::new(),
        }));
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&heard));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            heard,
            serving,
        }
    }

    /// What was asked so far but for looks at one thing: method, path with query, and body.
    pub(crate) fn changes(&self) -> Vec<String> {
        let mut heard = self.heard.lock().unwrap();
        let asked = std::mem::take(&mut heard.asked).into_iter();
        asked.filter(|line| !line.starts_with("GET ")).collect()
    }

    /// What was looked at so far.
    pub(crate) fn looks(&self) -> Vec<String> {
        let mut heard = self.heard.lock().unwrap();
        let asked = std::mem::take(&mut heard.asked).into_iter();
        asked.filter(|line| line.starts_with("GET ")).collect()
    }
}

async fn answer(State(heard): State<Arc<Mutex<Heard>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let line = format!("{} {}", parts.method, parts.uri.path());
    let query = parts
        .uri
        .query()
        .map_or_else(String::new, |query| format!("?{query}"));
    let mut heard = heard.lock().unwrap();
    heard
        .asked
        .push(format!("{line}{query} {body}").trim().to_owned());
    let found = heard.answers.get_mut(&line).and_then(|answers| {
        let last = answers.len() == 1;
        if last {
            answers.front().cloned()
        } else {
            answers.pop_front()
        }
    });
    let meta = json!({ "request_id": "00000000-0000-4000-8000-000000000000", "timestamp": "2026-11-23T00:00:00Z" });
    let (status, body) = match found {
        Some(data) if !data.is_null() => (200, json!({ "data": data, "meta": meta })),
        _ => {
            let error = json!({ "code": "NOT_FOUND", "message": "not found", "details": null });
            (404, json!({ "error": error, "meta": meta }))
        }
    };
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}
