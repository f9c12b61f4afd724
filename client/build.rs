//! Compiles the contract to the client half. Needs no `protoc`: `protox` parses the files.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto");
    let mut files =
        std::fs::read_dir(root.join("gatepost/v1"))?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
    files.sort();
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(&files, [&root])?;
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names().btree_map(["."]).bytes([".gatepost.v1.PublishEventRequest.data", ".gatepost.v1.Event.data"]);
    tonic_prost_build::configure().build_server(false).compile_fds_with_config(descriptors, config)?;
    Ok(())
}
