//! REST routes with what they do declared beside them.
//!
//! ```ignore
//! let router = Routes::new()
//!     .get("/api/v1/vms", "plasmavmc.vms.list", list)
//!     .create("/api/v1/vms", "plasmavmc.vms.create", create)
//!     .open(Method::GET, "/api/v1/versions", versions)
//!     .into_router(&auth)?
//!     .with_state(app);
//! ```
//!
//! A route without a declaration cannot be written. A handler takes a [`Context`] and decides by it; an answer that nobody
//! decided on is held back. The router must stand behind a door whose authenticator is [`Auth::authenticator`].

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    handler::Handler,
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{MethodFilter, MethodRouter, on},
};
use http::{Method, request::Parts};
use parking_lot::RwLock;
use photon_authz::Permission;
use photon_core::Error;
use photon_server::{Deadline, RequestId, RestError};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    auth::{Admitted, Auth},
    context::Context,
    idempotency,
};

/// The time a request has where no door says otherwise.
const WITHOUT_DOOR: std::time::Duration = std::time::Duration::from_secs(30);

/// What was declared of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// The method.
    pub method: Method,
    /// The path, parameters in braces.
    pub path: String,
    /// What one must be allowed to do; `None`: the route is open to everybody.
    pub permission: Option<Permission>,
    /// Whether it heeds an `Idempotency-Key`.
    pub creates: bool,
}

/// Why routes do not become a router.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .faults.join("; "))]
pub struct RoutesError {
    faults: Vec<String>,
}

/// Routes being declared. `S` is the handlers' state, as with [`Router`].
pub struct Routes<S = ()> {
    routes: BTreeMap<String, MethodRouter<S>>,
    declared: Vec<Declared>,
    faults: Vec<String>,
}

impl<S> fmt::Debug for Routes<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes")
            .field("declared", &self.declared)
            .finish_non_exhaustive()
    }
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}

macro_rules! methods {
    ($($name:ident $method:ident),*) => {$(
        #[doc = concat!("A `", stringify!($method), "` route: the path, the permission it needs, the handler.")]
        #[must_use]
        pub fn $name<H, T>(self, path: &str, permission: &str, handler: H) -> Self
        where
            H: Handler<T, S>,
            T: 'static,
        {
            self.guarded(Method::$method, path, permission, false, handler)
        }
    )*};
}

/// What stands around a handler.
#[derive(Clone)]
struct Guarded {
    permission: Permission,
    creates: bool,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            routes: BTreeMap::new(),
            declared: Vec::new(),
            faults: Vec::new(),
        }
    }

    methods!(get GET, post POST, put PUT, patch PATCH, delete DELETE);

    /// A `POST` route that makes something and heeds an `Idempotency-Key`: its use case calls [`Context::once`] for the
    /// transaction that makes the thing.
    #[must_use]
    pub fn create<H, T>(self, path: &str, permission: &str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.once(Method::POST, path, permission, handler)
    }

    /// The same for another change that one transaction makes, as a setting.
    #[must_use]
    pub fn once<H, T>(self, method: Method, path: &str, permission: &str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.guarded(method, path, permission, true, handler)
    }

    /// A route that needs no credential and looks at none: its handler is asked whatever the `Authorization` header says,
    /// and gets no [`Context`].
    #[must_use]
    pub fn open<H, T>(mut self, method: Method, path: &str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        if let Some(filter) = self.declare(&method, path, None, false) {
            self.add(path, on(filter, handler));
        }
        self
    }

    /// These and the others.
    #[must_use]
    pub fn merge(mut self, others: Self) -> Self {
        self.faults.extend(others.faults);
        for declared in others.declared {
            self.refuse_twice(&declared.method, &declared.path);
            self.declared.push(declared);
        }
        if self.faults.is_empty() {
            for (path, route) in others.routes {
                self.add(&path, route);
            }
        }
        self
    }

    /// What was declared so far.
    #[must_use]
    pub fn declared(&self) -> &[Declared] {
        &self.declared
    }

    /// The router, to be put behind a door whose authenticator is that of `auth`.
    ///
    /// # Errors
    /// Permissions that are none, and routes declared twice.
    pub fn into_router(self, auth: &Auth) -> Result<Router<S>, RoutesError> {
        if !self.faults.is_empty() {
            return Err(RoutesError {
                faults: self.faults,
            });
        }
        let open = self.declared.iter().filter(|one| one.permission.is_none());
        auth.open_routes()
            .add(open.map(|one| (one.method.clone(), one.path.clone())));
        if self.declared.iter().any(|one| one.creates) {
            auth.note_creates();
        }
        Ok(self
            .routes
            .into_iter()
            .fold(Router::new(), |router, (path, route)| {
                router.route(&path, route)
            }))
    }

    fn guarded<H, T>(
        mut self,
        method: Method,
        path: &str,
        permission: &str,
        creates: bool,
        handler: H,
    ) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        let permission = match Permission::new(permission) {
            Ok(permission) => permission,
            Err(error) => {
                self.faults.push(format!(
                    "{method} {path}: permission {permission:?} {error}"
                ));
                return self;
            }
        };
        if let Some(filter) = self.declare(&method, path, Some(permission.clone()), creates) {
            let around = Guarded {
                permission,
                creates,
            };
            let guard = middleware::from_fn_with_state(around, guard);
            self.add(path, on(filter, handler).route_layer(guard));
        }
        self
    }

    fn declare(
        &mut self,
        method: &Method,
        path: &str,
        permission: Option<Permission>,
        creates: bool,
    ) -> Option<MethodFilter> {
        if self.refuse_twice(method, path) {
            return None;
        }
        let Ok(filter) = MethodFilter::try_from(method.clone()) else {
            self.faults
                .push(format!("{method} {path}: not a method of ours"));
            return None;
        };
        self.declared.push(Declared {
            method: method.clone(),
            path: path.to_owned(),
            permission,
            creates,
        });
        Some(filter)
    }

    fn refuse_twice(&mut self, method: &Method, path: &str) -> bool {
        let twice = self
            .declared
            .iter()
            .any(|one| one.method == method && one.path == path);
        if twice {
            self.faults
                .push(format!("{method} {path} is declared twice"));
        }
        twice
    }

    fn add(&mut self, path: &str, route: MethodRouter<S>) {
        let all = self.routes.remove(path).unwrap_or_default();
        self.routes.insert(path.to_owned(), all.merge(route));
    }
}

/// Around each guarded handler.
async fn guard(State(around): State<Guarded>, mut request: Request, next: Next) -> Response {
    let Some(context) = context(around.permission, request.extensions_mut()) else {
        // A door that asked somebody else, or none.
        return RestError(Error::unauthenticated("a credential is required")).into_response();
    };
    let response = if around.creates {
        idempotency::rest::pass(context.clone(), request, next).await
    } else {
        request.extensions_mut().insert(context.clone());
        next.run(request).await
    };
    if response.status().is_client_error()
        || response.status().is_server_error()
        || context.is_decided()
    {
        return response;
    }
    let undecided = format!("{} answered without a decision", context.permission());
    RestError(Error::internal(undecided)).into_response()
}

fn context(permission: Permission, extensions: &mut http::Extensions) -> Option<Context> {
    let Admitted { auth, caller } = extensions.remove::<Admitted>()?;
    let request_id = extensions.get::<RequestId>().map(|id| id.0);
    let deadline = extensions.get::<Deadline>().map(|deadline| deadline.0);
    Some(Context::new(
        auth,
        caller,
        permission,
        request_id.unwrap_or_else(Uuid::new_v4),
        deadline.unwrap_or_else(|| Instant::now() + WITHOUT_DOOR),
    ))
}

/// The routes for everybody, as the authenticator finds them by their matched path.
#[derive(Debug, Default)]
pub(crate) struct OpenRoutes(RwLock<HashSet<(Method, String)>>);

impl OpenRoutes {
    fn add(&self, routes: impl Iterator<Item = (Method, String)>) {
        self.0.write().extend(routes);
    }

    fn contains(&self, method: &Method, path: &str) -> bool {
        let routes = self.0.read();
        !routes.is_empty() && routes.contains(&(method.clone(), path.to_owned()))
    }
}

/// Whether a request is for such a route. A GET route answers HEAD, too.
pub(crate) fn is_open(routes: &OpenRoutes, request: &Parts) -> bool {
    let Some(path) = request.extensions.get::<MatchedPath>() else {
        return false;
    };
    let method = match &request.method {
        &Method::HEAD => &Method::GET,
        method => method,
    };
    routes.contains(method, path.as_str())
}
