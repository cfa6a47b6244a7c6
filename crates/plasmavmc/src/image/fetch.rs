//! Content from URLs of the operators' list. Whoever leads fetches it; another leader goes on where it was, if the image's SHA-256 can tell
//! whether what came before and what comes then are one file.
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
/// Until it is begun with again, if what failed is nothing against the image.
const AGAIN: Duration = Duration::from_secs(30);

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

/// Why content was not fetched.
#[derive(Debug)]
enum Failed {
    /// The server, or what it gives.
    Server(Error),
    /// This house: its store, or hosts. That somebody here does not answer is nothing against the image.
    House(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::House(error)
    }
}

impl Failed {
    fn error(&self) -> &Error {
        let (Self::Server(error) | Self::House(error)) = self;
        error
    }

    /// What is noted of it, if that is the end. What hosts say beside it, their addresses for one, is nothing for tenants.
    fn problem(&self) -> Option<String> {
        match (self, self.error().code()) {
            // Who leads now goes on with it, or it is gone.
            (_, Code::CONFLICT | Code::NOT_FOUND) | (Self::House(_), Code::UNAVAILABLE) => None,
            _ => Some(format!("it cannot be fetched: {}", self.error().message())),
        }
    }
}

/// Whether an answer is what is behind an offset of a whole of that length, and nothing else.
fn goes_on(response: &Response, offset: u64, total: u64) -> bool {
    let range = response.headers().get(header::CONTENT_RANGE);
    let range = range.and_then(|range| range.to_str().ok());
    let wanted = format!("bytes {offset}-{}/{total}", total.saturating_sub(1));
    response.status() == StatusCode::PARTIAL_CONTENT && range == Some(wanted.as_str())
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
        Ok(Err(failed)) => {
            let (error, causes) = (failed.error(), failed.error().causes());
            tracing::info!(image = %id, %error, causes, "an image is not fetched");
            let Some(problem) = failed.problem() else {
                tokio::time::sleep(AGAIN).await;
                return;
            };
            problem
        }
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

async fn attempts(app: &App, fence: &Fence, web: &Web, id: ImageId) -> Result<(), Failed> {
    let mut attempt = 0;
    loop {
        match once(app, fence, web, id).await {
            Err(failed) if failed.error().code() == Code::UNAVAILABLE && attempt + 1 < ATTEMPTS => {
                let error = failed.error();
                tracing::info!(image = %id, %error, "fetching an image broke off; going on");
                attempt += 1;
                tokio::time::sleep(PAUSE * attempt).await;
            }
            done => return done,
        }
    }
}

async fn once(app: &App, fence: &Fence, web: &Web, id: ImageId) -> Result<(), Failed> {
    let image = read(app, id).await?.value;
    let Some(url) = &image.url else { return Ok(()) };
    let name = image.upload_name(Part::Disk);
    let asked = web.get(url, 0).await;
    let mut response = asked.map_err(Failed::Server)?;
    let total = response.content_length();
    let unsaid = || Failed::Server(no("the server does not say how long it is"));
    let total = total.ok_or_else(unsaid)?;
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
        // Without a SHA-256 nobody would see that it is another file by now.
        let rest = match image.sha256 {
            Some(_) => {
                let asked = web.get(url, there).await;
                Some(asked.map_err(Failed::Server)?)
            }
            None => None,
        };
        match rest.filter(|rest| goes_on(rest, there, total)) {
            Some(rest) => response = rest,
            None => {
                // From the beginning, which the first answer is.
                app.blobs.abandon(&name, &host).await?;
                app.blobs.begin(&name, total, Some(&host)).await?;
                there = 0;
            }
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
        return Err(Failed::Server(Error::unavailable(message)));
    }
    let should = should(app, &image, None)?;
    let blob = app.blobs.finish(&name, &host, &should).await?;
    note(app, fence, id, |image| {
        image.uploads.remove(&Part::Disk);
        image.contents.insert(Part::Disk, content(blob));
    })
    .await?;
    // It is a blob now. If nobody answers there, what is left of the upload goes after a day.
    let _ = app.blobs.abandon(&name, &host).await;
    Ok(())
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

    use axum::{
        Router,
        http::{HeaderMap, HeaderValue},
        response::{IntoResponse as _, Redirect},
        routing::get,
    };
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
            .route("/images/part", get(part_of))
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

    /// Always the same part, whatever is asked for.
    async fn part_of() -> axum::response::Response {
        let mut headers = HeaderMap::new();
        let range = HeaderValue::from_static("bytes 3-6/7");
        headers.insert(header::CONTENT_RANGE, range);
        (StatusCode::PARTIAL_CONTENT, headers, "tent").into_response()
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

    #[tokio::test]
    async fn it_goes_on_with_what_was_asked_for_only() {
        let (web, base) = served(|_| true).await;
        let part = web.get(&format!("{base}/images/part"), 3).await.unwrap();
        assert!(goes_on(&part, 3, 7));
        // Another part, or one of another file.
        assert!(!goes_on(&part, 2, 7));
        assert!(!goes_on(&part, 3, 8));
        let whole = web.get(&format!("{base}/images/a"), 3).await.unwrap();
        assert!(!goes_on(&whole, 3, 7));
    }

    #[test]
    fn what_fails_here_is_nothing_against_the_image() {
        let url = "https://10.0.0.1";
        let away = || Error::unavailable("no answer").with_source(url);
        assert_eq!(Failed::House(away()).problem(), None);
        let noted = |failed: Failed| failed.problem().unwrap();
        assert!(noted(Failed::Server(Error::unavailable("gone"))).ends_with("gone"));
        let full = Error::new(Code::NO_CAPACITY, "no room").with_source(url);
        assert!(noted(Failed::House(full)).ends_with("no room"));
        // Somebody else goes on with it.
        assert_eq!(
            Failed::House(Error::conflict("another writes")).problem(),
            None
        );
    }
}
