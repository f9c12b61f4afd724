//! Compiles the contract to the server half and to the descriptor set that reflection and the command line's JSON need. The
//! messages themselves are those of the client crate, so that the tree holds one copy.

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = std::path::PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../proto");
    let mut files =
        std::fs::read_dir(root.join("gatepost/v1"))?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
    files.sort();
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(&files, [&root])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("gatepost.binpb"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_client(false)
        .extern_path(".gatepost.v1", "::gatepost_client::v1")
        .compile_fds(descriptors)?;
    Ok(())
}
