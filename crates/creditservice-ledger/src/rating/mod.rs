//! What usage costs: exact rates, the price book, and which usage was counted.

mod book;
mod covered;
mod exact;
mod rate;
mod usage;

pub use book::{NoPrice, PriceBook};
pub(crate) use book::{Publish, WhyNot};
pub(crate) use covered::{Covered, Overlap};
pub use exact::Exact;
pub use rate::{Rate, RateError};
pub use usage::{Forecast, ForecastLine, Interval, IntervalError, Quantity, QuantityError, Usage};

use photon_core::Name;

/// What has a price: `vm.small`, `disk.gib`.
pub type Sku = Name;
