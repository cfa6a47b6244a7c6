//! Content from URLs of the operators' list. Whoever leads fetches it; another leader goes on where it was.
//!
//! A URL is checked before it is asked, and so is each one that it is redirected to. Names are looked up here, and only public addresses are
//! connected to, so that a name which means something else the next moment leads nowhere.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use parking_lot::Mutex;
use photon_core::{Code, Error};
use photon_store::{Fence, Stored};
use plasmavmc_model::{Image, ImageId, Part, Upload, catalog};
use reqwest::{
    Client, Response, StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    header,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    allowed::{Allowed, is_public},
    service::now,
    upload::{allow_size, content, should},
};
use crate::app::App;

/// How often it is looked for images that are to be fetched.
const LOOK: Duration = Duration::from_secs(3);
/// Images at once.
const AT_ONCE: usize = 4;
const CONNECT: Duration = Duration::from_secs(10);
/// Without a byte.
const SILENCE: Duration = Duration::from_secs(30);
const MOST_REDIRECTS: usize = 5;
/// For a server that breaks off.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_secs(2);

/// Which addresses may be connected to.
type May = fn(IpAddr) -> bool;

/// Asks servers.
#[derive(Clone, Debug)]
pub(crate) struct Web {
    client: Client,
    allowed: Allowed,
    may: May,
}

/// Looks names up, and finds only addresses that may be connected to.
struct Lookup(May);

impl Resolve for Lookup {
    fn resolve(&self, name: Name) -> Resolving {
        let may = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let good: Vec<SocketAddr> = found.filter(|address| may(address.ip())).collect();
            if good.is_empty() {
                return Err("the name leads to no public address".into());
            }
            let addresses: Addrs = Box::new(good.into_iter());
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(addresses)
        })
    }
}

impl Web {
    /// What may be asked of public addresses.
    ///
    /// # Errors
    /// No TLS.
    pub(crate) fn new(allowed: Allowed) -> Result<Self, Error> {
        Self::with(allowed, is_public)
    }

    fn with(allowed: Allowed, may: May) -> Result<Self, Error> {
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(Lookup(may)))
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .build()
            .map_err(Error::internal)?;
        Ok(Self {
            client,
            allowed,
            may,
        })
    }

    /// Content from an offset on.
    ///
    /// # Errors
    /// `VALIDATION_ERROR`: it may not be asked, or does not give it; `UNAVAILABLE`: it may later.
    async fn get(&self, url: &str, offset: u64) -> Result<Response, Error> {
        let mut url = self.allowed.check(url)?;
        for _ in 0..=MOST_REDIRECTS {
            let mut request = self.client.get(url.clone());
            if offset > 0 {
                request = request.header(header::RANGE, format!("bytes={offset}-"));
            }
            let response = request.send().await.map_err(|error| broken(&error))?;
            let address = response.remote_addr();
            if !address.is_some_and(|address| (self.may)(address.ip())) {
                return Err(no("url leads to an address that is not public"));
            }
            let status = response.status();
            if !status.is_redirection() {
                return Self::good(response, status);
            }
            let to = response.headers().get(header::LOCATION);
            let to = to.and_then(|to| to.to_str().ok());
            let to = to.and_then(|to| url.join(to).ok());
            let to = to.ok_or_else(|| no("url redirects to nowhere"))?;
            url = self.allowed.check(to.as_str())?;
        }
        Err(no("url redirects too often"))
    }

    fn good(response: Response, status: StatusCode) -> Result<Response, Error> {
        if status.is_success() {
            return Ok(response);
        }
        let message = format!("the server answered {status}");
        match status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            true => Err(Error::unavailable(message)),
            false => Err(no(message)),
        }
    }
}

fn no(message: impl Into<String>) -> Error {
    Error::validation("url", "content", message)
}

/// A server that is not there, or breaks off.
fn broken(error: &reqwest::Error) -> Error {
    Error::unavailable(photon_core::error::in_one_line(error))
}

/// Fetches what is to be fetched, until somebody else leads.
pub(crate) async fn run(app: &Arc<App>, fence: &Fence, over: &CancellationToken) {
    let web = match Web::new(app.config.images.allowed()) {
        Ok(web) => web,
        Err(error) => {
            tracing::error!(%error, "no image can be fetched");
            return;
        }
    };
    let working: Arc<Mutex<BTreeSet<ImageId>>> = Arc::default();
    let mut tasks = JoinSet::new();
    // What is listed cannot be asked for without the list.
    while !app.config.images.url_allow.is_empty() {
        let pause = tokio::time::sleep(LOOK);
        if over.run_until_cancelled(pause).await.is_none() {
            break;
        }
        while tasks.try_join_next().is_some() {}
        let pending = match pending(app).await {
            Ok(pending) => pending,
            Err(error) => {
                tracing::warn!(%error, "images cannot be looked for");
                continue;
            }
        };
        for id in pending {
            if tasks.len() >= AT_ONCE || !working.lock().insert(id) {
                continue;
            }
            let (app, fence, web) = (Arc::clone(app), fence.clone(), web.clone());
            let (working, over) = (Arc::clone(&working), over.clone());
            tasks.spawn(async move {
                over.run_until_cancelled(fetch(&app, &fence, &web, id))
                    .await;
                working.lock().remove(&id);
            });
        }
    }
    tasks.shutdown().await;
}

async fn pending(app: &App) -> Result<Vec<ImageId>, Error> {
    let images = super::tidy::all::<Image>(&app.records(), "").await?;
    let pending = images.into_iter().map(|image| image.value);
    let pending = pending
        .filter(|image| image.url.is_some() && image.problem.is_empty() && !image.is_ready());
    Ok(pending.map(|image| image.id).collect())
}

/// Fetches one, or notes why it cannot be.
async fn fetch(app: &App, fence: &Fence, web: &Web, id: ImageId) {
    let limit = app.config.images.fetching();
    let fetched = tokio::time::timeout(limit, attempts(app, fence, web, id)).await;
    let problem = match fetched {
        Ok(Ok(())) => return,
        // Who leads now goes on with it, or it is gone.
        Ok(Err(error)) if matches!(error.code(), Code::CONFLICT | Code::NOT_FOUND) => return,
        Ok(Err(error)) => match error.causes() {
            Some(causes) => format!("it cannot be fetched: {}: {causes}", error.message()),
            None => format!("it cannot be fetched: {}", error.message()),
        },
        Err(_) => format!("it could not be fetched within {} s", limit.as_secs()),
    };
    tracing::info!(image = %id, problem, "an image cannot be fetched");
    let noted = note(app, fence, id, |image| {
        image.problem.clone_from(&problem);
        image.uploads.clear();
    });
    if let Err(error) = noted.await {
        tracing::warn!(image = %id, %error, "why an image cannot be fetched is not noted");
    }
}

async fn attempts(app: &App, fence: &Fence, web: &Web, id: ImageId) -> Result<(), Error> {
    let mut attempt = 0;
    loop {
        match once(app, fence, web, id).await {
            Err(error) if error.code() == Code::UNAVAILABLE && attempt + 1 < ATTEMPTS => {
                tracing::info!(image = %id, %error, "fetching an image broke off; going on");
                attempt += 1;
                tokio::time::sleep(PAUSE * attempt).await;
            }
            done => return done,
        }
    }
}

async fn once(app: &App, fence: &Fence, web: &Web, id: ImageId) -> Result<(), Error> {
    let image = read(app, id).await?.value;
    let Some(url) = &image.url else { return Ok(()) };
    let name = image.upload_name(Part::Disk);
    let mut response = web.get(url, 0).await?;
    let total = response.content_length();
    let total = total.ok_or_else(|| no("the server does not say how long it is"))?;
    allow_size(app, total)?;
    let before = image.uploads.get(&Part::Disk);
    let begun = app
        .blobs
        .begin(&name, total, before.map(|before| &before.host));
    let (host, mut there) = match begun.await {
        Err(error) if error.code() == Code::UNAVAILABLE && before.is_some() => {
            app.blobs.begin(&name, total, None).await?
        }
        begun => begun?,
    };
    note(app, fence, id, |image| {
        let (host, bytes) = (host.clone(), total);
        image.uploads.insert(Part::Disk, Upload { host, bytes });
    })
    .await?;
    if there > 0 && there < total {
        response = web.get(url, there).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            // It gives the whole, or nothing: from the beginning.
            app.blobs.abandon(&name, &host).await?;
            there = app.blobs.begin(&name, total, Some(&host)).await?.1;
        }
    }
    if there < total {
        let data = response.bytes_stream();
        let data = data.take_while(|piece| std::future::ready(piece.is_ok()));
        let data = data
            .filter_map(|piece| std::future::ready(piece.ok()))
            .boxed();
        there = app.blobs.append(&name, &host, there, data).await?;
    }
    if there < total {
        let message = format!("the server broke off after {there} of {total} bytes");
        return Err(Error::unavailable(message));
    }
    let should = should(app, &image, None)?;
    let blob = app.blobs.finish(&name, &host, &should).await?;
    note(app, fence, id, |image| {
        image.uploads.remove(&Part::Disk);
        image.contents.insert(Part::Disk, content(blob));
    })
    .await
}

async fn read(app: &App, id: ImageId) -> Result<Stored<Image>, Error> {
    let all = app.records::<Image>();
    let found = all.get_by_index(&catalog::index(id)).await?;
    found.ok_or_else(|| Error::not_found(super::service::what(id)))
}

async fn note(
    app: &App,
    fence: &Fence,
    id: ImageId,
    change: impl Fn(&mut Image),
) -> Result<(), Error> {
    let mut image = read(app, id).await?;
    change(&mut image.value);
    image.value.updated_at = now();
    let mut transaction = app.store.transaction();
    transaction.replace(&app.records(), &image)?.fenced(fence);
    transaction.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use axum::{Router, response::Redirect, routing::get};
    use tokio::net::TcpListener;

    use super::*;

    /// A server, and a client that may ask it or not.
    async fn served(may: May) -> (Web, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let base = format!("http://localhost:{port}");
        let to = |to: String| {
            get(move || {
                let to = to.clone();
                async move { Redirect::temporary(&to) }
            })
        };
        let router = Router::new()
            .route("/images/a", get(|| async { "content" }))
            .route("/images/own", to(format!("{base}/images/a")))
            .route(
                "/images/away",
                to("https://elsewhere.example.org/a".to_owned()),
            )
            .route(
                "/images/private",
                to(format!("http://127.0.0.1:{port}/images/a")),
            )
            .route("/images/round", to("/images/round".to_owned()));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let list = [
            format!("{base}/images/"),
            format!("http://127.0.0.1:{port}/"),
        ];
        let allowed = Allowed::parse(&list).unwrap();
        photon_server::main_with::install_crypto();
        (Web::with(allowed, may).unwrap(), base)
    }

    async fn why(web: &Web, url: &str) -> String {
        let error = web.get(url, 0).await.unwrap_err();
        match error.details() {
            Some(details) => details["constraint"].as_str().unwrap().to_owned(),
            None => error.to_string(),
        }
    }

    #[tokio::test]
    async fn each_step_on_the_way_is_checked() {
        let (web, base) = served(|_| true).await;
        for good in ["a", "own"] {
            let response = web.get(&format!("{base}/images/{good}"), 0).await.unwrap();
            assert_eq!(response.text().await.unwrap(), "content");
        }
        assert_eq!(why(&web, &format!("{base}/images/away")).await, "allowed");
        // The list allows it, the address does not.
        assert_eq!(
            why(&web, &format!("{base}/images/private")).await,
            "address"
        );
        assert_eq!(why(&web, &format!("{base}/images/round")).await, "content");
        assert_eq!(why(&web, &format!("{base}/images/none")).await, "content");
        assert_eq!(why(&web, &format!("{base}/other/a")).await, "allowed");
    }

    #[tokio::test]
    async fn a_name_that_leads_into_this_house_leads_nowhere() {
        let (web, base) = served(is_public).await;
        let said = why(&web, &format!("{base}/images/a")).await;
        assert!(said.contains("no public address"), "{said}");
    }
}
