/*
 * backup_info: the index of a stanza's backups, kept ascending by label.  How it is spelled:
 * format5.
 */
#include "repo/backup_info.h"

#include <string.h>

const struct backup_db *backup_info_current(const struct backup_info *info)
{
	for (size_t i = info->history.n; i > 0; i--)
		if (info->history.v[i - 1].id == info->current)
			return &info->history.v[i - 1];
	return NULL;
}

/* Index of the first line whose label is not below the given one. */
static size_t position(const struct backup_info *info, const char *label)
{
	size_t i = info->backups.n;

	/* the newest ones are asked for most */
	while (i > 0 && strcmp(info->backups.v[i - 1].label, label) >= 0)
		i--;
	return i;
}

static bool stands_at(const struct backup_info *info, size_t i, const char *label)
{
	return i < info->backups.n && strcmp(info->backups.v[i].label, label) == 0;
}

const struct backup_line *backup_info_find(const struct backup_info *info, const char *label)
{
	size_t i = position(info, label);

	return stands_at(info, i, label) ? &info->backups.v[i] : NULL;
}

void backup_info_add(struct backup_info *info, const struct backup_line *line)
{
	struct backup_line added = *line; /* line may point into the list, which moves */
	size_t i = position(info, added.label);

	if (!stands_at(info, i, added.label)) {
		vec_add(&info->backups);
		memmove(&info->backups.v[i + 1], &info->backups.v[i],
			(info->backups.n - 1 - i) * sizeof(added));
	}
	info->backups.v[i] = added;
}

void backup_info_remove(struct backup_info *info, const char *label)
{
	size_t i = position(info, label);

	if (!stands_at(info, i, label))
		return;
	info->backups.n--;
	memmove(&info->backups.v[i], &info->backups.v[i + 1],
		(info->backups.n - i) * sizeof(struct backup_line));
}
