//! `device`: the compute device.

use crate::error::suggestion;

/// Keys that do not affect results.
pub(super) const CIRCUMSTANCES: &[&str] = &["device"];

/// A device by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The best available: CUDA, else a GPU through WGPU, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU by its index.
    Cuda(usize),
    /// A GPU through Vulkan, Metal or DX12 by its index; the default one without an index.
    Wgpu(Option<usize>),
}

impl DeviceChoice {
    /// Parses one device, or several separated by commas.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        text.split(',').map(|name| Self::parse(name.trim())).collect()
    }

    /// Parses "auto", "cpu", "cuda", "cuda:1", "wgpu" or "wgpu:1".
    pub fn parse(text: &str) -> Result<Self, String> {
        let (kind, index) = match text.split_once(':') {
            Some((kind, index)) => (
                kind,
                Some(index.parse().map_err(|_| {
                    format!("found \"{text}\"; expected a device number after the colon")
                })?),
            ),
            None => (text, None),
        };
        match (kind, index) {
            ("auto", None) => Ok(Self::Auto),
            ("cpu", None) => Ok(Self::Cpu),
            ("cuda", index) => Ok(Self::Cuda(index.unwrap_or(0))),
            ("wgpu", index) => Ok(Self::Wgpu(index)),
            _ => {
                let near = suggestion(text, ["auto", "cpu", "cuda", "wgpu"]);
                Err(format!(
                    "found \"{text}\"{near}; expected auto, cpu, cuda, cuda:N, wgpu or wgpu:N"
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read() {
        assert_eq!(DeviceChoice::parse("cuda:2"), Ok(DeviceChoice::Cuda(2)));
        assert_eq!(DeviceChoice::parse("wgpu"), Ok(DeviceChoice::Wgpu(None)));
        assert!(DeviceChoice::parse("gpu").unwrap_err().contains("expected auto, cpu, cuda"));
        assert!(DeviceChoice::parse("cuda:x").is_err());
        assert!(DeviceChoice::parse("cpu:1").is_err());
    }
}
