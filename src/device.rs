//! Compute devices. Only this module names the backends.

use crate::{
    config::DeviceChoice,
    error::{Error, Result},
    guard,
};
use burn::tensor::{Device as BurnDevice, Tensor};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// An opened device.
#[derive(Clone, Debug)]
pub struct Device {
    /// Burn's handle.
    pub device: BurnDevice,
    /// The name in provenance: "cpu", "cuda:0", "wgpu".
    pub name: String,
    /// The handle for Lumisift's own kernels.
    #[cfg(feature = "gpu")]
    kernels: Option<cubecl::Device>,
}

/// A GPU for Lumisift's own kernels.
#[cfg(feature = "gpu")]
pub(crate) struct Gpu {
    /// Launches kernels and keeps buffers.
    pub client: cubecl::client::Client,
    /// Threads per block.
    pub threads: usize,
    /// Maximum number of loop iterations of a thread in one launch: Mesa's software Vulkan silently
    /// leaves loops after 65,535 iterations.
    pub most_loops: Option<usize>,
}

impl Device {
    /// The precision of computations on the device, for provenance. Lumisift's own kernels, the CPU
    /// and WGPU use single precision throughout. Burn's matrix products may round to TF32 on CUDA,
    /// which cannot be disabled.
    pub fn precision(&self, kernels_of_our_own: bool) -> &'static str {
        if kernels_of_our_own || !self.name.starts_with("cuda") {
            "f32"
        } else {
            "f32, matrix products perhaps TF32"
        }
    }

    /// Whether it is the CPU of this machine.
    pub fn is_cpu(&self) -> bool {
        self.name == "cpu"
    }

    /// The GPU for Lumisift's own kernels; `None` if the device is not a GPU.
    #[cfg(feature = "gpu")]
    pub(crate) fn gpu(&self) -> Option<Gpu> {
        let client = self.kernels.as_ref()?.client();
        // One block must occupy a multiprocessor; those of CUDA support more threads than others.
        let wanted = if self.name.starts_with("cuda") { 1024 } else { 256 };
        let threads = wanted.min(client.properties().hardware.max_units_per_cube as usize);
        let software = self.device.identity().is_some_and(|identity| identity.physical.is_none());
        Some(Gpu { client, threads, most_loops: software.then_some(60_000) })
    }

    /// Computes on the device; converts panics of the backend to errors with advice.
    pub fn guard<T>(&self, compute: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.is_cpu() {
            return compute();
        }
        let result = guard::fenced(compute).unwrap_or_else(|cause| Err(failure(&cause)));
        if result.as_ref().is_err_and(Error::is_memory) {
            // The allocator keeps freed buffers for requests of the same size, which may leave no
            // room for smaller ones.
            let _ = guard::fenced(|| self.device.memory_cleanup());
        }
        result.map_err(|error| error.map(|message| format!("{}: {message}", self.name)))
    }
}

/// The error for a failed device.
pub fn failure(cause: &str) -> Error {
    // Texts of cubecl 0.11 and of the drivers.
    const MEMORY: [&str; 7] = [
        "out of device memory",
        "out of memory",
        "out-of-memory",
        "can't allocate buffer",
        "was never allocated",
        "every page size the memory tracks",
        "outofmemory",
    ];
    let (lower, first) = (cause.to_lowercase(), cause.lines().next().unwrap_or_default());
    if MEMORY.iter().any(|sign| lower.contains(sign)) {
        return Error::Memory(format!(
            "out of device memory ({first}); lower train.batch_size or train.ensemble, free the device, or choose another with --device"
        ));
    }
    Error::failed(format!(
        "the device failed ({first}); --resume continues from the last checkpoint, also on another device"
    ))
}

/// Copies a tensor to the host. Reports failures on the device since the last read.
pub(crate) fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    let data = tensor.try_into_data().map_err(|error| failure(&format!("{error:?}")))?;
    data.try_to_vec::<f32>().map_err(|error| failure(&format!("{error:?}")))
}

/// One line of `lumisift devices`.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Listed {
    /// The value for `--device`.
    pub name: String,
    /// Whether training can run there now.
    pub available: bool,
    /// The hardware, or why it is missing.
    pub detail: String,
}

/// Opens a device; the error says why it is not available.
pub fn open(choice: DeviceChoice) -> Result<Device> {
    match choice {
        DeviceChoice::Cpu => Ok(Device {
            device: BurnDevice::flex(),
            name: "cpu".into(),
            #[cfg(feature = "gpu")]
            kernels: None,
        }),
        DeviceChoice::Cuda(index) => open_cuda(index),
        DeviceChoice::Wgpu(index) => open_wgpu(index),
        DeviceChoice::Auto if !cuda_gpus().is_empty() => open_cuda(0),
        DeviceChoice::Auto if !wgpu_gpus().is_empty() => open_wgpu(None),
        DeviceChoice::Auto => open(DeviceChoice::Cpu),
    }
}

/// Opens several devices that share the work. Repeated devices are opened once.
pub fn open_all(choices: &[DeviceChoice]) -> Result<Vec<Device>> {
    let mut devices: Vec<Device> = vec![];
    for choice in choices {
        let device = open(*choice)?;
        if devices.iter().all(|other| other.name != device.name) {
            devices.push(device);
        }
    }
    Ok(devices)
}

/// All devices that this build supports; missing ones with the reason.
pub fn list() -> Vec<Listed> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut listed = vec![Listed {
        name: "cpu".into(),
        available: true,
        detail: format!("{threads} threads, {}", std::env::consts::ARCH),
    }];
    let (cuda, wgpu) = (cuda_gpus(), wgpu_gpus());
    if cuda.is_empty() {
        listed.push(Listed { name: "cuda".into(), available: false, detail: no_cuda() });
    }
    for (i, gpu) in cuda.into_iter().enumerate() {
        let (found, detail) =
            (libdevice().is_some(), format!("{gpu}{}", memory(DeviceChoice::Cuda(i))));
        let detail = if found { detail } else { format!("{detail}; {NO_LIBDEVICE}") };
        listed.push(Listed { name: format!("cuda:{i}"), available: found, detail });
    }
    if wgpu.is_empty() {
        // A software renderer is used only if named.
        listed.push(match open_wgpu(None) {
            Ok(_) => Listed {
                name: "wgpu".into(),
                available: true,
                detail: "software Vulkan (CUBECL_WGPU_DEFAULT_DEVICE is set)".into(),
            },
            Err(_) => Listed { name: "wgpu".into(), available: false, detail: no_wgpu() },
        });
    }
    for (i, gpu) in wgpu.into_iter().enumerate() {
        let detail = format!("{gpu}{}", memory(DeviceChoice::Wgpu(Some(i))));
        listed.push(Listed { name: format!("wgpu:{i}"), available: true, detail });
    }
    listed
}

/// Description of a GPU's memory.
#[cfg(feature = "gpu")]
fn memory(choice: DeviceChoice) -> String {
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let known = open(choice)
        .ok()
        .and_then(|opened| opened.gpu())
        .map(|gpu| gpu.client.properties().memory.clone());
    match known.map(|memory| (memory.max_memory(), memory.max_page_size)) {
        Some((Some(all), _)) => format!(", {:.0} GiB", gib(all)),
        Some((None, largest)) => format!(", {:.1} GiB at once", gib(largest)),
        None => String::new(),
    }
}

#[cfg(not(feature = "gpu"))]
fn memory(_: DeviceChoice) -> String {
    String::new()
}

const NO_LIBDEVICE: &str = "libdevice.10.bc of the CUDA toolkit is not found: set CUDA_PATH to a folder with nvvm/libdevice";

/// The path of CUDA's function library, with which kernels are compiled at run time. Searched like
/// in cubecl.
fn libdevice() -> Option<PathBuf> {
    let roots = match std::env::var_os("CUDA_PATH") {
        Some(path) => vec![PathBuf::from(path)],
        None => {
            ["/usr/local/cuda", "/opt/cuda", "/usr/lib/cuda", "/usr"].map(PathBuf::from).to_vec()
        }
    };
    roots
        .into_iter()
        .map(|root| root.join("nvvm/libdevice/libdevice.10.bc"))
        .find(|path| path.is_file())
}

fn no_cuda() -> String {
    if !cfg!(feature = "cuda") {
        "not built in; build with `cargo build --release --features cuda` (see docs/install.md)"
            .into()
    } else if Path::new("/dev/nvidiactl").exists() {
        "the NVIDIA driver is there, but shows no GPU (is CUDA_VISIBLE_DEVICES set?)".into()
    } else {
        "no NVIDIA driver on this machine (no /dev/nvidiactl)".into()
    }
}

fn no_wgpu() -> String {
    if cfg!(feature = "wgpu") {
        "no GPU with a Vulkan, Metal or DX12 driver; with CUBECL_WGPU_DEFAULT_DEVICE=Cpu set, software Vulkan serves as \"wgpu\"".into()
    } else {
        "not built in; build with `cargo build --release --features wgpu`".into()
    }
}

/// Names of the GPUs of a backend, without software renderers.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
fn cards(kind: burn::tensor::DeviceType) -> Vec<String> {
    let identities =
        BurnDevice::enumerate(kind).into_vec().into_iter().filter_map(|device| device.identity());
    identities
        .filter(|identity| identity.physical.is_some())
        .map(|identity| identity.name)
        .collect()
}

#[cfg(feature = "cuda")]
fn cuda_gpus() -> Vec<String> {
    cards(burn::tensor::DeviceType::Cuda)
}

#[cfg(not(feature = "cuda"))]
fn cuda_gpus() -> Vec<String> {
    vec![]
}

#[cfg(feature = "cuda")]
fn open_cuda(index: usize) -> Result<Device> {
    match cuda_gpus().len() {
        0 => Err(Error::input(format!("device cuda:{index}: {}", no_cuda()))),
        count if index >= count => Err(Error::input(format!(
            "device cuda:{index}: there are {count} CUDA devices, counted from 0"
        ))),
        _ if libdevice().is_none() => {
            Err(Error::input(format!("device cuda:{index}: {NO_LIBDEVICE}")))
        }
        _ => Ok(Device {
            device: BurnDevice::cuda(index),
            name: format!("cuda:{index}"),
            kernels: cubecl::Device::cuda(index).ok(),
        }),
    }
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(index: usize) -> Result<Device> {
    Err(Error::input(format!("device cuda:{index}: {}", no_cuda())))
}

#[cfg(feature = "wgpu")]
fn wgpu_gpus() -> Vec<String> {
    cards(burn::tensor::DeviceType::Wgpu)
}

#[cfg(not(feature = "wgpu"))]
fn wgpu_gpus() -> Vec<String> {
    vec![]
}

#[cfg(feature = "wgpu")]
fn open_wgpu(index: Option<usize>) -> Result<Device> {
    use burn::tensor::DeviceKind;
    use cubecl::device::WgpuDeviceKind;
    let opened = |device: BurnDevice, kind: WgpuDeviceKind, name: String| Device {
        device,
        name,
        kernels: cubecl::Device::wgpu(kind).ok(),
    };
    // A software renderer is used only if named: it is far slower than the CPU backend.
    let software = std::env::var_os("CUBECL_WGPU_DEFAULT_DEVICE").is_some() && index.is_none();
    match (wgpu_gpus().len(), index) {
        (0, _) if !software => Err(Error::input(format!("device wgpu: {}", no_wgpu()))),
        (count, Some(index)) if index >= count => Err(Error::input(format!(
            "device wgpu:{index}: there are {count} GPUs, counted from 0"
        ))),
        (_, Some(index)) => Ok(opened(
            BurnDevice::wgpu(DeviceKind::DiscreteGpu(index)),
            WgpuDeviceKind::DiscreteGpu(index),
            format!("wgpu:{index}"),
        )),
        (_, None) => Ok(opened(
            BurnDevice::wgpu(DeviceKind::DefaultDevice),
            WgpuDeviceKind::DefaultDevice,
            "wgpu".into(),
        )),
    }
}

#[cfg(not(feature = "wgpu"))]
fn open_wgpu(_: Option<usize>) -> Result<Device> {
    Err(Error::input(format!("device wgpu: {}", no_wgpu())))
}

/// Maps channels in parallel: on the CPU on its cores, on a GPU in separate streams, because one
/// channel leaves most of a GPU idle.
pub(crate) fn side_by_side<T: Send, R: Send>(
    device: &Device,
    channels: Vec<T>,
    one: impl Fn(T) -> Result<R> + Sync + Send,
) -> Result<Vec<R>> {
    channels.into_par_iter().map(|channel| device.guard(|| one(channel))).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The CPU, for tests.
    pub(crate) fn cpu() -> BurnDevice {
        BurnDevice::flex()
    }

    /// A software GPU for tests; prints a message and returns `None` if there is none.
    #[cfg(feature = "wgpu")]
    pub(crate) fn software() -> Option<Device> {
        use burn::tensor::DeviceKind;
        use cubecl::device::WgpuDeviceKind;
        match cubecl::Device::wgpu(WgpuDeviceKind::Cpu) {
            Ok(kernels) => Some(Device {
                device: BurnDevice::wgpu(DeviceKind::Cpu),
                name: "wgpu".into(),
                kernels: Some(kernels),
            }),
            Err(error) => {
                eprintln!("skipped: no software Vulkan: {error}");
                // Like the integration tests (tests/it/common).
                if let Some(path) = std::env::var_os("LUMISIFT_SKIPPED") {
                    let file = std::fs::File::options().create(true).append(true).open(path);
                    let _ = file.and_then(|mut file| {
                        std::io::Write::write_all(
                            &mut file,
                            b"unit tests of WGPU: no software Vulkan\n",
                        )
                    });
                }
                None
            }
        }
    }

    #[test]
    fn the_cpu_is_always_there() {
        assert_eq!(open(DeviceChoice::Cpu).unwrap().name, "cpu");
        assert!(list()[0].available);
    }

    #[cfg(not(any(feature = "cuda", feature = "wgpu")))]
    #[test]
    fn auto_is_the_cpu_where_nothing_else_is_built_in() {
        assert_eq!(open(DeviceChoice::Auto).unwrap().name, "cpu");
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_missing_backend_says_how_to_get_it() {
        let error = open(DeviceChoice::Cuda(0)).unwrap_err();
        assert!(error.to_string().contains("--features cuda"));
        assert_eq!(
            open(DeviceChoice::Auto).unwrap().name,
            if cfg!(feature = "wgpu") {
                open(DeviceChoice::Auto).unwrap().name
            } else {
                "cpu".into()
            }
        );
    }
}
