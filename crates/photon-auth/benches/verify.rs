//! What it costs to know a caller: the table for `docs/performance.md`.
//!
//! `cargo bench -p photon-auth --features sweep --bench verify`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement that prints its table"
)]

#[path = "../tests/auth/world.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod world;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hdrhistogram::Histogram;
use http::Request;
use photon_auth::AuthOptions;
use photon_authz::Permission;
use photon_server::Mode;

use world::{World, shop};

/// Tokens of which each is verified once without and often with the cache.
const TOKENS: usize = 20_000;
/// The measurements take turns, so that all see the same machine.
const TURNS: usize = 10;
const HITS: usize = 20_000;

/// One thing that is measured, in nanoseconds.
struct Row {
    name: &'static str,
    each: Histogram<u64>,
    total: Duration,
    count: u32,
}

impl Row {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            each: Histogram::new(3).unwrap(),
            total: Duration::ZERO,
            count: 0,
        }
    }

    fn measure<T>(&mut self, items: &[T], mut act: impl FnMut(&T)) {
        let began = Instant::now();
        let mut last = began;
        for item in items {
            act(item);
            let now = Instant::now();
            let took = u64::try_from((now - last).as_nanos()).unwrap();
            self.each.record(took.max(1)).unwrap();
            last = now;
        }
        self.total += began.elapsed();
        self.count += u32::try_from(items.len()).unwrap();
    }

    fn mean_us(&self) -> f64 {
        self.total.as_secs_f64() * 1e6 / f64::from(self.count)
    }

    fn print(&self) {
        let us = |quantile| {
            let ns = self.each.value_at_quantile(quantile);
            Duration::from_nanos(ns).as_secs_f64() * 1e6
        };
        println!(
            "| {} | {:.2} | {:.2} | {:.2} | {:.0} |",
            self.name,
            self.mean_us(),
            us(0.5),
            us(0.99),
            1e6 / self.mean_us()
        );
    }
}

#[tokio::main]
async fn main() {
    let world = World::new().await;
    let options = AuthOptions {
        cached_tokens: 2 * TOKENS as u64,
        ..AuthOptions::default()
    };
    let auth = world.auth_with(Mode::Enforce, options).await;
    let tokens: Vec<String> = (0..TOKENS).map(|_| world.token("alice")).collect();
    let split: Vec<(&[u8], Vec<u8>)> = tokens
        .iter()
        .map(|token| {
            let (message, signature) = token.rsplit_once('.').unwrap();
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            (message.as_bytes(), signature)
        })
        .collect();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &world.key.point);
    let shown = &tokens[0];
    let hits = vec![shown.as_str(); HITS];
    let permission = Permission::new("demo.greetings.get").unwrap();
    let request = Request::builder()
        .header("authorization", format!("Bearer {shown}"))
        .body(())
        .unwrap()
        .into_parts()
        .0;
    let caller = auth.caller(&request, None).await.unwrap().unwrap();
    let scope = shop();

    let mut bare = Row::new("signature alone (aws-lc-rs, ES256)");
    let mut uncached = Row::new("token, first time");
    let mut cached = Row::new("token, seen before");
    let mut decided = Row::new("decision, 1 binding");
    let each = TOKENS / TURNS;
    for turn in 0..TURNS {
        let part = turn * each..(turn + 1) * each;
        bare.measure(&split[part.clone()], |(message, signature)| {
            key.verify(message, signature).unwrap();
        });
        uncached.measure(&tokens[part], |token| {
            black_box(auth.verify(token).unwrap());
        });
        cached.measure(&hits, |token| {
            black_box(auth.verify(token).unwrap());
        });
        decided.measure(&hits, |_| {
            auth.decide(&caller, &permission, &scope).unwrap();
        });
    }

    println!(
        "| one core, {} bytes of token | mean µs | p50 µs | p99 µs | per second |",
        shown.len()
    );
    println!("|---|---|---|---|---|");
    for row in [&bare, &uncached, &cached, &decided] {
        row.print();
    }
    println!();
    println!(
        "A first verification costs {:.2} times its signature check, one seen before {:.2} µs.",
        uncached.mean_us() / bare.mean_us(),
        cached.mean_us()
    );
}
