/* SPDX-License-Identifier: GPL-2.0 */

/*
 * What callgate_kernel needs from C and kernel::bindings does not have.
 *
 * bindgen drops a macro whose value is a cast; a constant of the same value gets through, as in
 * rust/bindings/bindings_helper.h. Kbuild takes the prefix off again.
 */

#include <linux/fs.h>
#include <linux/ipv6.h>
#include <linux/namei.h>
#include <linux/netdevice.h>
#include <linux/poll.h>
#include <linux/proc_fs.h>
#include <net/ip.h>
#include <net/sock.h>

#include "helpers/genetlink.h"
#include "helpers/mmap.h"
#include "helpers/net_namespace.h"
#include "helpers/netlink.h"
#include "helpers/nlattr.h"
#include "helpers/packet.h"
#include "helpers/udp.h"
#include "helpers/umh.h"

const __poll_t RUST_CONST_HELPER_EPOLLERR = EPOLLERR;
const __poll_t RUST_CONST_HELPER_EPOLLHUP = EPOLLHUP;
const __poll_t RUST_CONST_HELPER_EPOLLIN = EPOLLIN;
const __poll_t RUST_CONST_HELPER_EPOLLRDNORM = EPOLLRDNORM;
const __poll_t RUST_CONST_HELPER_EPOLLOUT = EPOLLOUT;
const __poll_t RUST_CONST_HELPER_EPOLLWRNORM = EPOLLWRNORM;

const int RUST_CONST_HELPER_IOCB_APPEND = IOCB_APPEND;
const int RUST_CONST_HELPER_IOCB_NOWAIT = IOCB_NOWAIT;

const int RUST_CONST_HELPER_NET_RX_SUCCESS = NET_RX_SUCCESS;
const int RUST_CONST_HELPER_NET_RX_DROP = NET_RX_DROP;

const fmode_t RUST_CONST_HELPER_FMODE_ATOMIC_POS = FMODE_ATOMIC_POS;

const u8 RUST_CONST_HELPER_GENL_MCAST_CAP_NET_ADMIN = GENL_MCAST_CAP_NET_ADMIN;
