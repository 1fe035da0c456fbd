//! The floor of commands: `posix_spawn` into a process group of its own, output into a pipe, wait.

use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Microseconds a command.
pub fn run(commands: usize, jobs: usize) -> f64 {
    let left = AtomicUsize::new(commands);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    one();
                }
            });
        }
    });
    crate::each(started.elapsed(), commands)
}

fn one() {
    const PROGRAM: &CStr = c"/bin/true";
    let ok = |code: i32| assert_eq!(code, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: every value is initialised by the call that is named for it before it is used, and destroyed once.
    unsafe {
        let mut out = [0; 2];
        ok(libc::pipe2(out.as_mut_ptr(), libc::O_CLOEXEC));
        let mut actions = MaybeUninit::uninit();
        ok(libc::posix_spawn_file_actions_init(actions.as_mut_ptr()));
        let mut actions = actions.assume_init();
        ok(libc::posix_spawn_file_actions_adddup2(&mut actions, out[1], 1));
        ok(libc::posix_spawn_file_actions_adddup2(&mut actions, out[1], 2));
        let mut attributes = MaybeUninit::uninit();
        ok(libc::posix_spawnattr_init(attributes.as_mut_ptr()));
        let mut attributes = attributes.assume_init();
        ok(libc::posix_spawnattr_setflags(&mut attributes, libc::POSIX_SPAWN_SETPGROUP as i16));
        ok(libc::posix_spawnattr_setpgroup(&mut attributes, 0));
        let arguments: [*mut c_char; 2] = [PROGRAM.as_ptr().cast_mut(), std::ptr::null_mut()];
        let environment: [*mut c_char; 1] = [std::ptr::null_mut()];
        let mut child = 0;
        ok(libc::posix_spawn(
            &mut child,
            PROGRAM.as_ptr(),
            &actions,
            &attributes,
            arguments.as_ptr(),
            environment.as_ptr(),
        ));
        libc::close(out[1]);
        let mut bytes = [0u8; 4096];
        while libc::read(out[0], bytes.as_mut_ptr().cast(), bytes.len()) > 0 {}
        libc::close(out[0]);
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &mut status, 0), child, "the child is reaped");
        ok(libc::WEXITSTATUS(status));
        libc::posix_spawnattr_destroy(&mut attributes);
        libc::posix_spawn_file_actions_destroy(&mut actions);
    }
}
