//! The methods that an encoded descriptor set describes.

use prost::Message as _;
use prost_types::FileDescriptorSet;

/// Every method as `package.Service/Method`, in the order described.
///
/// # Errors
/// When it is not a descriptor set.
pub(crate) fn methods_of(descriptor_set: &[u8]) -> Result<Vec<String>, prost::DecodeError> {
    let set = FileDescriptorSet::decode(descriptor_set)?;
    let mut methods = Vec::new();
    for file in &set.file {
        let package = match file.package() {
            "" => String::new(),
            package => format!("{package}."),
        };
        for service in &file.service {
            for method in &service.method {
                methods.push(format!("{package}{}/{}", service.name(), method.name()));
            }
        }
    }
    Ok(methods)
}
