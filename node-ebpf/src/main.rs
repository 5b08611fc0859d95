//! Entry points of the kernel programs, one expression each.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::{
        macros::{cgroup_sock, cgroup_sock_addr},
        programs::{SockAddrContext, SockContext},
    };
    use sluice_node_ebpf::{
        datagram,
        resolve::{self, Family},
        socket, survey,
    };

    #[cgroup_sock_addr(connect4)]
    fn connect4(ctx: SockAddrContext) -> i32 {
        resolve::connect(&ctx, Family::V4)
    }

    #[cgroup_sock_addr(connect6)]
    fn connect6(ctx: SockAddrContext) -> i32 {
        resolve::connect(&ctx, Family::V6)
    }

    #[cgroup_sock_addr(sendmsg4)]
    fn sendmsg4(ctx: SockAddrContext) -> i32 {
        datagram::send(&ctx, Family::V4)
    }

    #[cgroup_sock_addr(sendmsg6)]
    fn sendmsg6(ctx: SockAddrContext) -> i32 {
        datagram::send(&ctx, Family::V6)
    }

    #[cgroup_sock_addr(recvmsg4)]
    fn recvmsg4(ctx: SockAddrContext) -> i32 {
        datagram::receive(&ctx, Family::V4)
    }

    #[cgroup_sock_addr(recvmsg6)]
    fn recvmsg6(ctx: SockAddrContext) -> i32 {
        datagram::receive(&ctx, Family::V6)
    }

    #[cgroup_sock_addr(getpeername4)]
    fn getpeername4(ctx: SockAddrContext) -> i32 {
        resolve::peer_name(&ctx, Family::V4)
    }

    #[cgroup_sock_addr(getpeername6)]
    fn getpeername6(ctx: SockAddrContext) -> i32 {
        resolve::peer_name(&ctx, Family::V6)
    }

    #[cgroup_sock(sock_release)]
    fn sock_release(ctx: SockContext) -> i32 {
        socket::released(&ctx);
        1
    }

    #[unsafe(no_mangle)]
    #[unsafe(link_section = "iter/bpf_sk_storage_map")]
    extern "C" fn survey(entry: *const survey::Entry) -> i32 {
        // SAFETY: the kernel runs this for the entries of a storage in sockets.
        unsafe { survey::tell(entry) }
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }

    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 11] = *b"Apache-2.0\0";
}

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("sluice-node-ebpf runs in the kernel: sluice-node-agent compiles and loads it.");
}
