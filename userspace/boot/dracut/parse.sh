#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# dracut, first: if images are wanted, try again each time that devices have come
# until all are attached; whoever waits for the root waits for that.

# shellcheck source=../vdisktab.sh
. /lib/vdisk/vdisktab.sh
# shellcheck source=../host.sh
. /lib/vdisk/host.sh

if [ -n "$(vdisk_list)" ]; then
	/sbin/initqueue --settled --unique --name vdisk /bin/sh /lib/vdisk/attach.sh
	/sbin/initqueue --timeout --unique --name vdisk /bin/sh /lib/vdisk/attach.sh last
	/sbin/initqueue --finished --unique --name vdisk [ -e /run/vdisk.done ]
fi
