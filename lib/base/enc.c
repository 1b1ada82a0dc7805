/*
 * enc: bytes as text.
 */
#include "base/enc.h"

void hex_encode(const void *data, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i++) {
		*out++ = digits[p[i] >> 4];
		*out++ = digits[p[i] & 15];
	}
	*out = '\0';
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool hex_decode(const char *text, void *out, size_t len)
{
	unsigned char *p = out;

	for (size_t i = 0; i < len; i++) {
		int high = digit_value(text[2 * i]);

		/* a text that ends early must not be read beyond its end */
		if (high < 0)
			return false;
		int low = digit_value(text[2 * i + 1]);
		if (low < 0)
			return false;
		p[i] = (unsigned char)(high << 4 | low);
	}
	return true;
}
