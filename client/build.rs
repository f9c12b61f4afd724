//! Compiles the contract to the client half, and to the server half that only this crate's own tests include. Needs no `protoc`: `protox` parses the files.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = std::path::PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../proto");
    let mut files =
        std::fs::read_dir(root.join("gatepost/v1"))?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
    files.sort();
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(&files, [&root])?;
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names().btree_map(["."]).bytes([".gatepost.v1.PublishEventRequest.data", ".gatepost.v1.Event.data"]);
    tonic_prost_build::configure().build_server(false).compile_fds_with_config(descriptors.clone(), config)?;
    let services = std::path::PathBuf::from(std::env::var("OUT_DIR")?).join("services");
    std::fs::create_dir_all(&services)?;
    tonic_prost_build::configure()
        .build_client(false)
        .generate_default_stubs(true)
        .extern_path(".gatepost.v1", "crate::v1")
        .out_dir(services)
        .compile_fds(descriptors)?;
    Ok(())
}
