/* SPDX-License-Identifier: GPL-2.0 */

/* See udp.rs: struct sock is opaque to Rust, and IPv6 sets its options by inline functions. */

#ifndef CALLGATE_HELPERS_UDP_H
#define CALLGATE_HELPERS_UDP_H

struct sock;

/* ip6_sock_set_v6only() and ip6_sock_set_recvpktinfo(). The first can fail. */
int callgate_ip6_sock_set_v6only(struct sock *sk);
void callgate_ip6_sock_set_recvpktinfo(struct sock *sk);

/* rcu_dereference_sk_user_data() */
void *callgate_sk_user_data(struct sock *sk);

/*
 * Sets sk_data_ready and sk_user_data, under sk_callback_lock, and says what the first was before; -EBUSY
 * if somebody has the second. Others may see one before the other.
 */
int callgate_sk_set_data_ready(struct sock *sk, void (*data_ready)(struct sock *sk),
			       void *user_data, void (**old)(struct sock *sk));

/* Undoes it. */
void callgate_sk_reset_data_ready(struct sock *sk, void (*data_ready)(struct sock *sk));

#endif
