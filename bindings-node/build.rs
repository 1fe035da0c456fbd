//! Tells the linker how an addon of Node is linked.

fn main() {
    napi_build::setup();
}
