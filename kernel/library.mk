# SPDX-License-Identifier: GPL-2.0
#
# Rules for modules in Rust that use the library in this folder. A Kbuild file in the folder above says
#
#   include $(src)/kernel/library.mk
#   $(eval $(call rust_module,NAME,SOURCE,HELPERS))
#
# to have NAME.ko made of SOURCE.rs, the library, and the C files in helpers/ that it needs.

library := $(obj)/kernel/libcallgate_kernel.rmeta

define rust_module
obj-m += $(1).o
$(1)-y := $(2).o kernel/callgate_kernel.o $(patsubst %,kernel/helpers/%.o,$(3))
RUSTFLAGS_$(2).o := --extern callgate_kernel=$(library)
$(obj)/$(2).o: $(obj)/kernel/callgate_kernel.o
endef

# The kernel may be replaced by another one of the same name, as by a package's update, and all its files be older
# than what was compiled for the one before. A flag that differs has everything compiled again.
kernel_sum := $(firstword $(shell { cd $(objtree) && cat include/config/auto.conf Module.symvers && \
	stat -Lc '%s %Y' rust/libkernel.rmeta vmlinux; } 2>/dev/null | cksum))
ccflags-y += -DCALLGATE_KERNEL_SUM=$(kernel_sum)
rustflags-y += --cfg=callgate_kernel_sum_$(kernel_sum)

# The library is an object of every module, but compiled once; hence one name instead of all theirs.
RUSTFLAGS_kernel/callgate_kernel.o := --emit=metadata=$(library)
$(obj)/kernel/callgate_kernel.o: private modfile = callgate_kernel
$(obj)/kernel/callgate_kernel.o: $(obj)/kernel/bindings_generated.rs

# What kernel/bindings.h adds to kernel::bindings, by the kernel's own rule for bindgen
# (rust/Makefile), which a distribution's build tree does not have. At its end the file uses every item
# once: see kernel/bindings.rs.
export CALLGATE_BINDINGS := $(abspath $(obj)/kernel/bindings_generated.rs)

# bindgen reads C by clang, and where the kernel is built by gcc, clang knows not all of the flags. On x86-64,
# none that begins so changes a type, but for those that are added back.
bindgen_c_flags = $(filter-out -f% -m% --param=%,$(c_flags)) \
	-w -fms-extensions -fshort-wchar -funsigned-char -fno-builtin

bindgen_flags = $(shell grep -hEv '^\#|^$$' $(src)/kernel/bindgen_parameters)

quiet_cmd_callgate_bindgen = BINDGEN $(quiet_modtag) $@
      cmd_callgate_bindgen = \
	$(BINDGEN) $< $(bindgen_flags) --rust-target 1.85 \
		--use-core --with-derive-default --ctypes-prefix ffi --no-layout-tests \
		--no-debug '.*' --enable-function-attribute-detection \
		-o $@ -- $(bindgen_c_flags) -D__BINDGEN__ -DMODULE; \
	sed -Ei 's/\bRUST_CONST_HELPER_//' $@; \
	sed -Ene 's/^pub (const|static|type|struct|union|enum) (\w+).*/use super::\2 as _;/p' \
	    -e 's/^pub use self::\w+ as (\w+);/use super::\1 as _;/p' \
	    -e '/^(unsafe )?extern "C" \{/,/^\}/s/^    pub (fn|static|static mut) (\w+).*/use super::\2 as _;/p' \
	    $@ > $@.uses; cat $@.uses >> $@; rm $@.uses

targets += kernel/bindings_generated.rs
$(obj)/kernel/bindings_generated.rs: $(src)/kernel/bindings.h $(src)/kernel/bindgen_parameters FORCE
	$(call if_changed_dep,callgate_bindgen)

# The library's documentation. No flag that only matters to generated code gets here.
quiet_cmd_callgate_rustdoc = RUSTDOC $(quiet_modtag) $<
      cmd_callgate_rustdoc = \
	OBJTREE=$(abspath $(objtree)) \
	$(RUSTDOC) $(filter-out --remap-path-scope=%,$(rust_flags)) \
		-Zallow-features=$(rust_allowed_features) \
		-Zcrate-attr=no_std -Zcrate-attr='feature($(rust_allowed_features))' \
		-Zunstable-options --extern pin_init --extern kernel \
		--extern zerocopy --extern zerocopy_derive \
		-L $(objtree)/rust/ --sysroot=/dev/null \
		--output $(dir $@) $< && touch $@

targets += doc/stamp
$(obj)/doc/stamp: $(src)/kernel/callgate_kernel.rs $(wildcard $(src)/kernel/*.rs $(src)/kernel/*/*.rs) \
    $(obj)/kernel/bindings_generated.rs FORCE
	+$(call if_changed,callgate_rustdoc)

always-$(if $(DOC),y) += doc/stamp

clean-files := doc kernel/libcallgate_kernel.rmeta
