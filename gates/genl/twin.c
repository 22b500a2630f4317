// SPDX-License-Identifier: GPL-2.0
/*
 * module.rs in C, with the same behaviour: what Rust and the library cost is the difference.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/ratelimit.h>
#include <linux/rbtree.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <net/genetlink.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>

enum {
	CMD_ECHO = 1,
	CMD_ADD,
	CMD_REMOVE,
	CMD_GET,
	CMD_KINDS,
	CMD_ADDED,
	CMD_REMOVED,
	CMD_HEARD,
};

enum {
	A_MSG = 1,
	A_RECORD,
	A_COUNT,
	A_REPLACE,
	A_NUMBER,
	A_FROM,
};

enum {
	RECORD_NUMBER = 1,
	RECORD_TEXT,
	RECORD_MAX = RECORD_TEXT,
};

enum {
	KIND_U8 = 1,
	KIND_U16,
	KIND_U32,
	KIND_U64,
	KIND_S8,
	KIND_S16,
	KIND_S32,
	KIND_S64,
	KIND_BYTES,
	KIND_FLAG,
	KIND_NEST,
};

enum {
	GROUP_RECORDS,
	GROUP_ECHOES,
};

#define MSG_LIMIT 255
#define TEXT_LIMIT 63
#define NUMBER_LIMIT 1000000
#define RECORDS_LIMIT 200000

#define ANSWER "hello world from kernel space"

/* What was added together shares its text. */
struct text {
	refcount_t users;
	char string[];
};

struct record {
	union {
		struct rb_node node;
		/* As long as it is in no tree. */
		struct record *next;
	};
	u32 number;
	struct text *text;
};

/* Each network namespace has its own. */
struct records {
	struct mutex lock;
	struct rb_root tree;
	u32 len;
	/* Another one after each change, and never 0. */
	u32 generation;
};

static unsigned int records_id;

static struct genl_family control;

static DEFINE_RATELIMIT_STATE(logged, HZ, 10);

static void put_text(struct text *text)
{
	if (refcount_dec_and_test(&text->users))
		kfree(text);
}

static void free_record(struct record *record)
{
	put_text(record->text);
	kfree(record);
}

static void free_list(struct record *list)
{
	while (list) {
		struct record *next = list->next;

		free_record(list);
		list = next;
	}
}

/* Everything that adding these records could fail for. */
static struct record *new_records(u32 first, u32 last, const struct nlattr *string)
{
	struct record *list = NULL;
	struct text *text;
	size_t len = strlen(nla_data(string)) + 1;
	u32 number;

	text = kmalloc(struct_size(text, string, len), GFP_KERNEL_ACCOUNT);
	if (!text)
		return NULL;
	refcount_set(&text->users, 1);
	memcpy(text->string, nla_data(string), len);

	for (number = first; number <= last; number++) {
		struct record *record = kmalloc(sizeof(*record), GFP_KERNEL_ACCOUNT);

		if (!record) {
			free_list(list);
			list = NULL;
			break;
		}
		refcount_inc(&text->users);
		record->number = number;
		record->text = text;
		record->next = list;
		list = record;
	}
	put_text(text);
	return list;
}

static void insert(struct records *records, struct record *new)
{
	struct rb_node **link = &records->tree.rb_node, *parent = NULL;

	while (*link) {
		struct record *record = rb_entry(*link, struct record, node);

		parent = *link;
		if (new->number < record->number) {
			link = &parent->rb_left;
		} else if (new->number > record->number) {
			link = &parent->rb_right;
		} else {
			rb_replace_node(&record->node, &new->node, &records->tree);
			free_record(record);
			return;
		}
	}
	rb_link_node(&new->node, parent, link);
	rb_insert_color(&new->node, &records->tree);
}

/* The first record with this number or a larger one. */
static struct record *find_from(struct records *records, u32 number)
{
	struct rb_node *node = records->tree.rb_node;
	struct record *found = NULL;

	while (node) {
		struct record *record = rb_entry(node, struct record, node);

		if (record->number < number) {
			node = node->rb_right;
		} else {
			found = record;
			node = node->rb_left;
		}
	}
	return found;
}

static struct record *next_record(struct record *record)
{
	return rb_entry_safe(rb_next(&record->node), struct record, node);
}

static struct record *find(struct records *records, u32 number)
{
	struct record *record = find_from(records, number);

	return record && record->number == number ? record : NULL;
}

/* How many records there are with these numbers. */
static u32 count_between(struct records *records, u32 first, u32 last)
{
	struct record *record = find_from(records, first);
	u32 count = 0;

	for (; record && record->number <= last; record = next_record(record))
		count++;
	return count;
}

static void changed(struct records *records)
{
	if (!++records->generation)
		records->generation = 1;
}

static int put_record(struct sk_buff *skb, u32 number, const char *text)
{
	struct nlattr *nest = nla_nest_start(skb, A_RECORD);

	if (!nest)
		return -EMSGSIZE;
	if (nla_put_u32(skb, RECORD_NUMBER, number) || nla_put_string(skb, RECORD_TEXT, text)) {
		nla_nest_cancel(skb, nest);
		return -EMSGSIZE;
	}
	nla_nest_end(skb, nest);
	return 0;
}

/* Begins a message to a group, if somebody listens. NULL if there is nothing to send. */
static struct sk_buff *begin_notify(struct net *net, unsigned int group, u8 cmd, void **hdr)
{
	struct sk_buff *skb;

	if (!genl_has_listeners(&control, net, group))
		return NULL;
	skb = genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (skb) {
		*hdr = genlmsg_put(skb, 0, 0, &control, 0, cmd);
		if (*hdr)
			return skb;
		nlmsg_free(skb);
	}
	genl_set_err(&control, net, 0, group, -ENOBUFS);
	return NULL;
}

/* Sends it, or tells those who listen that they have missed something. */
static void end_notify(struct net *net, unsigned int group, struct sk_buff *skb, void *hdr, int err)
{
	if (err) {
		nlmsg_free(skb);
		genl_set_err(&control, net, 0, group, -ENOBUFS);
		return;
	}
	genlmsg_end(skb, hdr);
	genlmsg_multicast_netns(&control, net, skb, 0, group, GFP_KERNEL);
}

static struct sk_buff *begin_reply(struct genl_info *info, void **hdr)
{
	struct sk_buff *skb = genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);

	if (!skb)
		return ERR_PTR(-ENOMEM);
	*hdr = genlmsg_iput(skb, info);
	if (!*hdr) {
		nlmsg_free(skb);
		return ERR_PTR(-EMSGSIZE);
	}
	return skb;
}

static int end_reply(struct genl_info *info, struct sk_buff *skb, void *hdr, int err)
{
	if (err) {
		nlmsg_free(skb);
		return err;
	}
	genlmsg_end(skb, hdr);
	return genlmsg_reply(skb, info);
}

static int do_echo(struct sk_buff *request, struct genl_info *info)
{
	struct net *net = genl_info_net(info);
	struct sk_buff *skb;
	const char *msg;
	void *hdr;

	if (GENL_REQ_ATTR_CHECK(info, A_MSG))
		return -EINVAL;
	msg = nla_data(info->attrs[A_MSG]);
	if (__ratelimit(&logged))
		pr_info("received: %s\n", msg);

	skb = begin_notify(net, GROUP_ECHOES, CMD_HEARD, &hdr);
	if (skb)
		end_notify(net, GROUP_ECHOES, skb, hdr, nla_put_string(skb, A_MSG, msg));

	skb = begin_reply(info, &hdr);
	if (IS_ERR(skb))
		return PTR_ERR(skb);
	return end_reply(info, skb, hdr, nla_put_string(skb, A_MSG, ANSWER));
}

static const struct nla_policy record_policy[RECORD_MAX + 1];

static int do_add(struct sk_buff *request, struct genl_info *info)
{
	struct net *net = genl_info_net(info);
	struct records *records = net_generic(net, records_id);
	struct nlattr *tb[RECORD_MAX + 1], *nest;
	struct record *list, *next;
	u32 first, last, count = 1, there;
	struct sk_buff *skb;
	const char *text;
	void *hdr;
	int err;

	if (GENL_REQ_ATTR_CHECK(info, A_RECORD))
		return -EINVAL;
	nest = info->attrs[A_RECORD];
	err = nla_parse_nested(tb, RECORD_MAX, nest, record_policy, info->extack);
	if (err)
		return err;
	if (NL_REQ_ATTR_CHECK(info->extack, nest, tb, RECORD_NUMBER) ||
	    NL_REQ_ATTR_CHECK(info->extack, nest, tb, RECORD_TEXT))
		return -EINVAL;
	first = nla_get_u32(tb[RECORD_NUMBER]);
	text = nla_data(tb[RECORD_TEXT]);
	if (info->attrs[A_COUNT])
		count = nla_get_u32(info->attrs[A_COUNT]);
	last = first + (count - 1);
	if (last > NUMBER_LIMIT) {
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[A_COUNT],
				    "the last number would be too large");
		return -ERANGE;
	}
	list = new_records(first, last, tb[RECORD_TEXT]);
	if (!list)
		return -ENOMEM;

	mutex_lock(&records->lock);
	there = count_between(records, first, last);
	if (there && !info->attrs[A_REPLACE]) {
		NL_SET_ERR_MSG_ATTR(info->extack, tb[RECORD_NUMBER],
				    "there is such a record already");
		err = -EEXIST;
		goto unlock;
	}
	if (records->len - there + count > RECORDS_LIMIT) {
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[A_COUNT] ?: nest,
				    "there would be too many records");
		err = -ENOSPC;
		goto unlock;
	}
	for (; list; list = next) {
		next = list->next;
		insert(records, list);
	}
	records->len += count - there;
	changed(records);

	/* Under the lock, so that changes are told of in the order in which they are made. */
	skb = begin_notify(net, GROUP_RECORDS, CMD_ADDED, &hdr);
	if (skb) {
		int full = put_record(skb, first, text) ?: nla_put_u32(skb, A_COUNT, count);

		end_notify(net, GROUP_RECORDS, skb, hdr, full);
	}
unlock:
	mutex_unlock(&records->lock);
	free_list(list);
	return err;
}

static int do_remove(struct sk_buff *request, struct genl_info *info)
{
	struct net *net = genl_info_net(info);
	struct records *records = net_generic(net, records_id);
	struct record *record;
	struct sk_buff *skb;
	void *hdr;
	int err = 0;
	u32 number;

	if (GENL_REQ_ATTR_CHECK(info, A_NUMBER))
		return -EINVAL;
	number = nla_get_u32(info->attrs[A_NUMBER]);

	mutex_lock(&records->lock);
	record = find(records, number);
	if (!record) {
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[A_NUMBER],
				    "there is no such record");
		err = -ENOENT;
		goto unlock;
	}
	rb_erase(&record->node, &records->tree);
	free_record(record);
	records->len--;
	changed(records);
	skb = begin_notify(net, GROUP_RECORDS, CMD_REMOVED, &hdr);
	if (skb)
		end_notify(net, GROUP_RECORDS, skb, hdr, nla_put_u32(skb, A_NUMBER, number));
unlock:
	mutex_unlock(&records->lock);
	return err;
}

static int do_get(struct sk_buff *request, struct genl_info *info)
{
	struct records *records = net_generic(genl_info_net(info), records_id);
	struct record *record;
	struct sk_buff *skb;
	void *hdr;
	int err;

	if (GENL_REQ_ATTR_CHECK(info, A_NUMBER))
		return -EINVAL;

	mutex_lock(&records->lock);
	record = find(records, nla_get_u32(info->attrs[A_NUMBER]));
	if (!record) {
		mutex_unlock(&records->lock);
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[A_NUMBER],
				    "there is no such record");
		return -ENOENT;
	}
	skb = begin_reply(info, &hdr);
	if (IS_ERR(skb)) {
		mutex_unlock(&records->lock);
		return PTR_ERR(skb);
	}
	err = put_record(skb, record->number, record->text->string);
	mutex_unlock(&records->lock);
	return end_reply(info, skb, hdr, err);
}

/* What a dump keeps from one part to the next: the least number that is still to be listed. */
struct dump {
	u32 from;
};

static int dump_records(struct sk_buff *skb, struct netlink_callback *cb)
{
	const struct genl_info *info = genl_info_dump(cb);
	struct records *records = net_generic(genl_info_net(info), records_id);
	struct dump *dump = (struct dump *)cb->ctx;
	struct record *record;
	u32 from = dump->from;
	int err = 0;

	NL_ASSERT_CTX_FITS(struct dump);
	if (info->attrs[A_FROM])
		from = max(from, nla_get_u32(info->attrs[A_FROM]));

	mutex_lock(&records->lock);
	cb->seq = records->generation;
	for (record = find_from(records, from); record; record = next_record(record)) {
		void *hdr = __genlmsg_iput(skb, info, NLM_F_MULTI);

		if (!hdr) {
			err = -EMSGSIZE;
			break;
		}
		err = put_record(skb, record->number, record->text->string);
		if (err) {
			genlmsg_cancel(skb, hdr);
			break;
		}
		genl_dump_check_consistent(cb, hdr);
		genlmsg_end(skb, hdr);
		dump->from = record->number + 1;
	}
	mutex_unlock(&records->lock);
	return err;
}

/* Sends back what came. */
static int do_kinds(struct sk_buff *request, struct genl_info *info)
{
	struct nlattr *tb[RECORD_MAX + 1], *got, *nest;
	struct sk_buff *skb;
	void *hdr;
	int err;
	int i;

	skb = begin_reply(info, &hdr);
	if (IS_ERR(skb))
		return PTR_ERR(skb);
	for (i = KIND_U8; i <= KIND_FLAG; i++) {
		got = info->attrs[i];
		if (!got)
			continue;
		err = nla_put(skb, i, nla_len(got), nla_data(got));
		if (err)
			goto end;
	}
	err = 0;
	got = info->attrs[KIND_NEST];
	if (!got)
		goto end;
	err = nla_parse_nested(tb, RECORD_MAX, got, record_policy, info->extack);
	if (err)
		goto end;
	err = -EINVAL;
	if (NL_REQ_ATTR_CHECK(info->extack, got, tb, RECORD_NUMBER) ||
	    NL_REQ_ATTR_CHECK(info->extack, got, tb, RECORD_TEXT))
		goto end;
	err = -EMSGSIZE;
	nest = nla_nest_start(skb, KIND_NEST);
	if (!nest || nla_put_u32(skb, RECORD_NUMBER, nla_get_u32(tb[RECORD_NUMBER])) ||
	    nla_put_string(skb, RECORD_TEXT, nla_data(tb[RECORD_TEXT])))
		goto end;
	nla_nest_end(skb, nest);
	err = 0;
end:
	return end_reply(info, skb, hdr, err);
}

static const struct netlink_range_validation number_range = { .min = 1, .max = NUMBER_LIMIT };
static const struct netlink_range_validation count_range = { .min = 1, .max = RECORDS_LIMIT };
static const struct netlink_range_validation u32_range = { .min = 1, .max = 100000 };
static const struct netlink_range_validation u64_range = { .min = 1, .max = 1ull << 40 };
static const struct netlink_range_validation_signed s32_range = { .min = -100000, .max = 100000 };
static const struct netlink_range_validation_signed s64_range = {
	.min = -(1ll << 40),
	.max = 1ll << 40,
};

static const struct nla_policy record_policy[RECORD_MAX + 1] = {
	[RECORD_NUMBER] = NLA_POLICY_FULL_RANGE(NLA_U32, &number_range),
	[RECORD_TEXT] = { .type = NLA_NUL_STRING, .len = TEXT_LIMIT },
};

static const struct nla_policy echo_policy[] = {
	[A_MSG] = { .type = NLA_NUL_STRING, .len = MSG_LIMIT },
};

static const struct nla_policy add_policy[] = {
	[A_RECORD] = NLA_POLICY_NESTED(record_policy),
	[A_COUNT] = NLA_POLICY_FULL_RANGE(NLA_U32, &count_range),
	[A_REPLACE] = { .type = NLA_FLAG },
};

static const struct nla_policy number_policy[] = {
	[A_NUMBER] = { .type = NLA_U32 },
};

static const struct nla_policy list_policy[] = {
	[A_FROM] = { .type = NLA_U32 },
};

static const struct nla_policy kinds_policy[] = {
	[KIND_U8] = { .type = NLA_U8 },
	[KIND_U16] = NLA_POLICY_RANGE(NLA_U16, 1, 1000),
	[KIND_U32] = NLA_POLICY_FULL_RANGE(NLA_U32, &u32_range),
	[KIND_U64] = NLA_POLICY_FULL_RANGE(NLA_U64, &u64_range),
	[KIND_S8] = { .type = NLA_S8 },
	[KIND_S16] = NLA_POLICY_RANGE(NLA_S16, -1000, 1000),
	[KIND_S32] = NLA_POLICY_FULL_RANGE_SIGNED(NLA_S32, &s32_range),
	[KIND_S64] = NLA_POLICY_FULL_RANGE_SIGNED(NLA_S64, &s64_range),
	[KIND_BYTES] = NLA_POLICY_RANGE(NLA_BINARY, 4, 8),
	[KIND_FLAG] = { .type = NLA_FLAG },
	[KIND_NEST] = NLA_POLICY_NESTED(record_policy),
};

#define POLICY(name) .policy = name, .maxattr = ARRAY_SIZE(name) - 1

static const struct genl_split_ops control_ops[] = {
	{
		.cmd = CMD_ECHO,
		.doit = do_echo,
		POLICY(echo_policy),
		.flags = GENL_CMD_CAP_DO,
	},
	{
		.cmd = CMD_ADD,
		.doit = do_add,
		POLICY(add_policy),
		.flags = GENL_CMD_CAP_DO | GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = CMD_REMOVE,
		.doit = do_remove,
		POLICY(number_policy),
		.flags = GENL_CMD_CAP_DO | GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = CMD_GET,
		.doit = do_get,
		POLICY(number_policy),
		.flags = GENL_CMD_CAP_DO,
	},
	{
		.cmd = CMD_GET,
		.dumpit = dump_records,
		POLICY(list_policy),
		.flags = GENL_CMD_CAP_DUMP,
	},
	{
		.cmd = CMD_KINDS,
		.doit = do_kinds,
		POLICY(kinds_policy),
		.flags = GENL_CMD_CAP_DO,
	},
};

static const struct genl_multicast_group control_groups[] = {
	[GROUP_RECORDS] = { .name = "records" },
	[GROUP_ECHOES] = { .name = "echoes", .flags = GENL_MCAST_CAP_NET_ADMIN },
};

static struct genl_family control __ro_after_init = {
	.name = "CONTROL_EXMPL",
	.version = 1,
	.netnsok = true,
	.parallel_ops = true,
	.module = THIS_MODULE,
	.split_ops = control_ops,
	.n_split_ops = ARRAY_SIZE(control_ops),
	.mcgrps = control_groups,
	.n_mcgrps = ARRAY_SIZE(control_groups),
};

static int __net_init records_init(struct net *net)
{
	struct records *records = net_generic(net, records_id);

	mutex_init(&records->lock);
	records->tree = RB_ROOT;
	records->generation = 1;
	return 0;
}

static void __net_exit records_exit(struct net *net)
{
	struct records *records = net_generic(net, records_id);
	struct record *record, *next;

	rbtree_postorder_for_each_entry_safe(record, next, &records->tree, node)
		free_record(record);
}

static struct pernet_operations records_ops = {
	.init = records_init,
	.exit = records_exit,
	.id = &records_id,
	.size = sizeof(struct records),
};

static int __init control_init(void)
{
	int err = register_pernet_subsys(&records_ops);

	if (err)
		return err;
	err = genl_register_family(&control);
	if (err)
		unregister_pernet_subsys(&records_ops);
	return err;
}

static void __exit control_exit(void)
{
	genl_unregister_family(&control);
	unregister_pernet_subsys(&records_ops);
}

module_init(control_init);
module_exit(control_exit);
MODULE_AUTHOR("callgate");
MODULE_DESCRIPTION("generic netlink: typed commands, dumps and notifications");
MODULE_LICENSE("GPL");
