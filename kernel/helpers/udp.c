// SPDX-License-Identifier: GPL-2.0

#include <linux/ipv6.h>
#include <linux/rcupdate.h>
#include <net/ipv6.h>
#include <net/sock.h>

#include "udp.h"

int callgate_ip6_sock_set_v6only(struct sock *sk)
{
	return ip6_sock_set_v6only(sk);
}

void callgate_ip6_sock_set_recvpktinfo(struct sock *sk)
{
	ip6_sock_set_recvpktinfo(sk);
}

void *callgate_sk_user_data(struct sock *sk)
{
	return rcu_dereference_sk_user_data(sk);
}

int callgate_sk_set_data_ready(struct sock *sk, void (*data_ready)(struct sock *sk),
			       void *user_data, void (**old)(struct sock *sk))
{
	int err = -EBUSY;

	write_lock_bh(&sk->sk_callback_lock);
	if (!sk->sk_user_data) {
		*old = sk->sk_data_ready;
		rcu_assign_sk_user_data(sk, user_data);
		WRITE_ONCE(sk->sk_data_ready, data_ready);
		err = 0;
	}
	write_unlock_bh(&sk->sk_callback_lock);
	return err;
}

void callgate_sk_reset_data_ready(struct sock *sk, void (*data_ready)(struct sock *sk))
{
	write_lock_bh(&sk->sk_callback_lock);
	rcu_assign_sk_user_data(sk, NULL);
	WRITE_ONCE(sk->sk_data_ready, data_ready);
	write_unlock_bh(&sk->sk_callback_lock);
}
