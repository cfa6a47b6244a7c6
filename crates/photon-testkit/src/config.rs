//! Configurations: examples that show the defaults, settings that cannot be and are named.

#![expect(
    clippy::expect_used,
    reason = "what goes wrong here is a test that fails"
)]

use std::{fmt::Debug, fs, path::Path};

use photon_core::error::in_one_line;
use photon_server::config::ConfigError;

use crate::scratch::Scratch;

/// The configuration of a program, to be tried.
#[derive(Debug)]
pub struct Trial<C> {
    /// How the program reads a file.
    pub load: fn(Option<&Path>) -> Result<C, ConfigError>,
    /// The example that is shipped.
    pub example: &'static str,
}

impl<C: Debug> Trial<C> {
    /// What a file with this text says.
    ///
    /// # Errors
    /// Why it cannot be, in one line.
    pub fn read(&self, text: &str) -> Result<C, String> {
        let directory = Scratch::new("config").expect("a directory");
        let file = directory.path().join("config.toml");
        fs::write(&file, text).expect("the file is written");
        (self.load)(Some(&file)).map_err(|error| in_one_line(&error))
    }

    /// The example can be read, and shows every default; some settings have none, and are as in the example.
    pub fn example_shows(&self, default: impl FnOnce(&C) -> C) {
        let example = (self.load)(Some(Path::new(self.example))).expect("the example can be read");
        assert_eq!(format!("{example:?}"), format!("{:?}", default(&example)));
    }

    /// Each section refuses a key that it does not know; the empty one is what stands before all.
    pub fn refuses_unknown_keys_in(&self, sections: &[&str]) {
        for section in sections {
            let text = format!("{section}\nno_such_key = 1\n");
            let error = self.read(&text).expect_err(&text);
            assert!(error.contains("no_such_key"), "{section}: {error}");
        }
    }

    /// Each text cannot be, and the reason names the field.
    pub fn names(&self, cases: &[(&str, &str)]) {
        for (text, field) in cases {
            let error = self.read(text).expect_err(text);
            assert!(error.contains(field), "{text}: {error}");
        }
    }
}

impl<C: Debug + Default> Trial<C> {
    /// It has what the configuration of every service has: dev mode on loopback at these ports needs nothing, the example
    /// shows the defaults, and what cannot be is named. `enforce` is the least that enforce mode needs.
    pub fn is_a_services(&self, rest: u16, grpc: u16, enforce: &str) {
        let nothing = self.read("").expect("nothing is needed");
        assert_eq!(format!("{nothing:?}"), format!("{:?}", C::default()));
        self.example_shows(|_| C::default());
        self.refuses_unknown_keys_in(&[
            "",
            "[rest]\naddress = \"127.0.0.1:1\"",
            "[grpc]\naddress = \"127.0.0.1:1\"",
            "[store]",
            "[store.tls]\nca = \"x\"\ncertificate = \"x\"\nkey = \"x\"",
            "[auth]",
            "[http]",
            "[log]",
        ]);
        let taken = "is taken by rest.address";
        self.names(&[
            (&format!("[rest]\naddress = \"127.0.0.1:{grpc}\""), taken),
            (&format!("[grpc]\naddress = \"127.0.0.1:{rest}\""), taken),
            ("[rest]\naddress = \"10.0.0.1:1\"", "rest.address"),
            ("[grpc]\naddress = \"0.0.0.0:1\"", "grpc.address"),
            (
                "[auth]\nmax_staleness_seconds = 0",
                "auth.max_staleness_seconds",
            ),
            ("[store]\nendpoints = []", "store.endpoints"),
            (
                "[store]\nendpoints = [\"127.0.0.1:50051\"]",
                "store.endpoints",
            ),
            ("[store]\nendpoints = [\"ftp://a\"]", "store.endpoints"),
            ("[store]\nendpoints = [\"https://a:1\"]", "store.tls"),
            ("[store.tls]\nca = \"a\"\nkey = \"b\"", "certificate"),
            (
                "[store]\nrequest_timeout_ms = 0",
                "store.request_timeout_ms",
            ),
            ("issuer = \"iam\"", "issuer"),
            ("issuer = \"https://iam/\"", "issuer"),
            ("[http]\nmax_connections = 0", "http.max_connections"),
            ("[log]\nlevel = \"info,photon=loud\"", "log.level"),
            (
                &format!("{enforce}[rest]\naddress = \"10.0.0.1:1\""),
                "rest.tls",
            ),
            (
                &format!("{enforce}[store]\nendpoints = [\"http://10.0.0.1:50051\"]"),
                "store.endpoints",
            ),
        ]);
        self.read(enforce).expect("enforce mode needs no more");
    }
}
