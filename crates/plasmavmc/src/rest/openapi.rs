//! The OpenAPI document of all routes.

use photon_service::openapi::{Credentials, complete};
use utoipa::OpenApi;

use crate::{console, host, image, operation, pool, snapshot, vm, volume};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "PlasmaVMC",
        description = "Virtual machines. Requests change what is wanted of a VM and are answered at once; `state` says how it is. In dev mode no \
                       credential is needed; a credential that is shown is checked in either mode. What belongs to others, or does not \
                       exist, answers 404.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        vm::rest::create, vm::rest::list, vm::rest::get, vm::rest::update, vm::rest::delete,
        vm::rest::get_guest,
        vm::rest::start, vm::rest::stop, vm::rest::reboot,
        vm::rest::pause, vm::rest::resume, vm::rest::suspend, vm::rest::resize,
        console::rest::get, console::rest::attach,
        image::rest::create, image::rest::list, image::rest::get, image::rest::update, image::rest::delete,
        snapshot::rest::create, snapshot::rest::list, snapshot::rest::get, snapshot::rest::delete, snapshot::rest::revert,
        volume::rest::create, volume::rest::list, volume::rest::get, volume::rest::update, volume::rest::delete,
        volume::rest::attach, volume::rest::detach, volume::rest::resize,
        pool::rest::list, pool::rest::get,
        image::data::put, image::data::get, host::rest::list, operation::rest::get,
    ),
    // Only parameters name them, and schemas are collected from bodies.
    components(schemas(super::schema::ImageText, photon_service::rest::EtagText)),
    modifiers(&Credentials),
    tags(
        (name = "vms", description = "Virtual machines"),
        (name = "images", description = "What they boot"),
        (name = "snapshots", description = "How their disks were, and what they were doing"),
        (name = "volumes", description = "Disks of their own, that VMs come and go by"),
        (name = "pools", description = "Where disks lie"),
        (name = "hosts", description = "Where they run"),
        (name = "operations", description = "Work that takes longer than a request"),
    )
)]
struct Document;

/// The document, as it is served at `/openapi.json` and kept in `docs/api/openapi/plasmavmc.yaml`.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    complete(&mut document, &super::declared());
    document
}
