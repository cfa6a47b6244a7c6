//! `photonctl image`.

use super::cli::Image;
use crate::{
    failure::Failure,
    output::{self, Format},
    rest::{client::Service, list},
};

const COLUMNS: &[&str] = &["id", "arch", "size_bytes", "digest"];

pub(super) async fn run(service: &Service, format: Format, command: Image) -> Result<(), Failure> {
    let Image::List = command;
    let path = ["api", "v1", "images"];
    let found = list::whole(service, &path, "images").await?;
    if let Some(found) = list::for_people(format, "images", found)? {
        output::records(COLUMNS, &found.rows)?;
    }
    Ok(())
}
