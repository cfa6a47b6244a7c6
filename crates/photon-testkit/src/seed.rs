//! Seeds of random tests: printed, and repeatable by an environment variable.

use rand::SeedableRng;
use rand::rngs::StdRng;

/// Environment variable that fixes the seed (decimal, or hexadecimal with `0x`).
pub const SEED: &str = "PHOTON_SEED";

/// The seed of one test run. Printed when made; a failing test prints its output, so the seed is there to repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// Takes the seed from `PHOTON_SEED`, or a new random one, and prints it with the name of the test.
    ///
    /// # Panics
    /// When `PHOTON_SEED` is set and is no number: silently testing something else would be worse.
    pub fn for_test(test: &str) -> Self {
        let seed = match std::env::var(SEED) {
            Ok(text) => parse(&text)
                .unwrap_or_else(|| panic!("{SEED}={text} is neither decimal nor 0x-hexadecimal")),
            Err(_) => rand::random(),
        };
        eprintln!("{test}: {SEED}={seed}");
        Self(seed)
    }

    /// A generator for this seed; `stream` gives independent generators to tasks of one test.
    pub fn rng(self, stream: u64) -> StdRng {
        // Weyl constant: neighbouring streams get distant seeds.
        StdRng::seed_from_u64(self.0 ^ stream.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}

fn parse(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use rand::Rng;

    use super::*;

    #[test]
    fn same_seed_same_numbers_and_streams_differ() {
        let draw = |stream| Seed(7).rng(stream).random::<u64>();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn seeds_are_parsed_in_both_notations() {
        assert_eq!(parse("12"), Some(12));
        assert_eq!(parse("0xff"), Some(255));
        assert_eq!(parse("twelve"), None);
    }
}
