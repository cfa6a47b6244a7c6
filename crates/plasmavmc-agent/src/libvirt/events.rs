//! What libvirt tells by itself, and the one place with unsafe code: the safe bindings have neither a domain's events nor whether
//! somebody is at work on it, nor what is said of its memory on disk.

#![expect(
    unsafe_code,
    reason = "virt 0.5 has no safe form of domain events, of a domain's control state and of its managed save's definition"
)]

use std::{
    ffi::CStr,
    os::raw::{c_int, c_void},
    sync::OnceLock,
};

use plasmavmc_model::VmId;
use tokio::sync::mpsc::UnboundedSender;
use virt::{connect::Connect, domain::Domain, error::Error, event, sys};

/// Who is told.
type Changed = UnboundedSender<VmId>;

/// Starts the thread on which libvirt's events arrive; it lives as long as the process. An embedded connection needs it to be made at
/// all, any other to notice that it broke. Called again, it does nothing.
///
/// # Errors
/// libvirt has no event loop, or there is no thread.
pub(super) fn run() -> Result<(), String> {
    static STARTED: OnceLock<Result<(), String>> = OnceLock::new();
    let start = || {
        // Else libvirt writes every error to standard error, besides answering it.
        virt::error::clear_error_callback();
        event::event_register_default_impl().map_err(|error| error.message().to_owned())?;
        let run = || {
            loop {
                if let Err(error) = event::event_run_default_impl() {
                    tracing::error!(error = error.message(), "libvirt's event loop failed");
                    std::thread::sleep(std::time::Duration::from_secs(1));
                }
            }
        };
        let thread = std::thread::Builder::new().name("virt-ev".to_owned());
        thread
            .spawn(run)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    STARTED.get_or_init(start).clone()
}

/// Tells of every domain whose state changes, as long as the connection stands.
///
/// # Errors
/// What libvirt says.
pub(super) fn subscribe(connection: &Connect, changed: Changed) -> Result<(), Error> {
    let told: *mut Changed = Box::into_raw(Box::new(changed));
    // libvirt keeps one type for all kinds of callbacks and calls each with what its kind says.
    let callback: unsafe extern "C" fn(
        sys::virConnectPtr,
        sys::virDomainPtr,
        c_int,
        c_int,
        *mut c_void,
    ) -> c_int = lifecycle;
    // SAFETY: for VIR_DOMAIN_EVENT_ID_LIFECYCLE libvirt calls what it is given with exactly these arguments
    // (virConnectDomainEventCallback); this is how its own macro VIR_DOMAIN_EVENT_CALLBACK casts it.
    let callback: sys::virConnectDomainEventGenericCallback = Some(unsafe {
        std::mem::transmute::<
            unsafe extern "C" fn(
                sys::virConnectPtr,
                sys::virDomainPtr,
                c_int,
                c_int,
                *mut c_void,
            ) -> c_int,
            unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *mut c_void),
        >(callback)
    });
    // SAFETY: the connection is open and outlives the call; no domain means all of them. `told` is a box of ours that nobody else
    // has: libvirt hands it to the callback only, and at last, once, to `forget`, unless the call fails.
    let id = unsafe {
        sys::virConnectDomainEventRegisterAny(
            connection.as_ptr(),
            std::ptr::null_mut(),
            sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE as c_int,
            callback,
            told.cast(),
            Some(forget),
        )
    };
    if id < 0 {
        let error = Error::last_error();
        // SAFETY: the registration failed, so libvirt has not kept the box and calls `forget` for it neither now nor later.
        drop(unsafe { Box::from_raw(told) });
        return Err(error);
    }
    Ok(())
}

unsafe extern "C" fn lifecycle(
    _connection: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    _event: c_int,
    _detail: c_int,
    told: *mut c_void,
) -> c_int {
    let mut uuid = [0_u8; 16];
    // SAFETY: libvirt gives a domain that is valid during the call, and writes 16 bytes (VIR_UUID_BUFLEN).
    if unsafe { sys::virDomainGetUUID(domain, uuid.as_mut_ptr()) } == 0 {
        // SAFETY: `told` is the box of `subscribe`, alive until `forget`, and only ever read, by this thread.
        let changed = unsafe { &*told.cast::<Changed>() };
        // Nobody listens any more when the agent ends. Sending does not panic: nothing unwinds into libvirt.
        let _ = changed.send(VmId::from_uuid(uuid::Uuid::from_bytes(uuid)));
    }
    0
}

unsafe extern "C" fn forget(told: *mut c_void) {
    // SAFETY: libvirt calls it once for the box of `subscribe`, after the last callback.
    drop(unsafe { Box::from_raw(told.cast::<Changed>()) });
}

/// Whether libvirt is at work on the domain, in the background or for somebody else.
pub(super) fn is_busy(domain: &Domain) -> bool {
    let mut info = sys::virDomainControlInfo {
        state: 0,
        details: 0,
        stateTime: 0,
    };
    // SAFETY: the domain is a valid reference as long as `domain` lives, and `info` is written by nobody else.
    let done = unsafe { sys::virDomainGetControlInfo(domain.as_ptr(), &raw mut info, 0) };
    // One that is not running any more, nobody is at work on.
    done == 0
        && matches!(
            info.state,
            sys::VIR_DOMAIN_CONTROL_JOB | sys::VIR_DOMAIN_CONTROL_OCCUPIED
        )
}

/// What the domain was whose memory is on disk: its definition, as it ran.
///
/// # Errors
/// What libvirt says; the memory is not all there.
pub(super) fn saved_definition(domain: &Domain) -> Result<String, Error> {
    // SAFETY: the domain is a valid reference as long as `domain` lives.
    let text = unsafe { sys::virDomainManagedSaveGetXMLDesc(domain.as_ptr(), 0) };
    if text.is_null() {
        return Err(Error::last_error());
    }
    // SAFETY: it is no null pointer, so it is a string that ends, and nobody else's.
    let copy = unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned();
    // SAFETY: libvirt leaves it to its caller to free, as it was made by `malloc`; it is not used after this.
    unsafe { nix::libc::free(text.cast()) };
    Ok(copy)
}
