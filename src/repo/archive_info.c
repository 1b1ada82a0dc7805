/*
 * archive_info: which clusters a stanza's WAL archive has held.  How it is spelled: format5.
 */
#include "repo/archive_info.h"

const struct archive_db *archive_info_current(const struct archive_info *info)
{
	for (size_t i = info->history.n; i > 0; i--)
		if (info->history.v[i - 1].id == info->current)
			return &info->history.v[i - 1];
	return NULL;
}
