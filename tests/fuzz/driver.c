/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a fuzz target without libFuzzer: first every seed as it is, then mutations of seeds. The
 * inputs depend on --seed and on the seeds' contents only.
 *
 *   --runs N        mutated inputs to try (default 20000, times 100 with BULKHEAD_LONG)
 *   --seconds N     go on for so long instead
 *   --seed N        of the random numbers (default 1)
 *   --max-len N     longest input (default 4096)
 *   --limit N       seconds one input may take (default 20)
 *   --save FILE     where to write the input that broke the target (default ./crash-input)
 *   PATH...         seeds: files, or folders of files
 *
 * When the target breaks, the input is saved; run the program with that file and --runs 0 to see
 * it again.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

__attribute__((weak)) void fuzz_report(void)
{
}

#ifdef FUZZ_LIBFUZZER
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_one(data, size);
}
#else

struct input {
	uint8_t *data; /* owned */
	size_t size;
};

static struct {
	uint64_t runs, seed;
	unsigned seconds, limit;
	size_t max_len;
	const char *save;
} opt = {.seed = 1, .limit = 20, .max_len = 4096, .save = "crash-input"};

static struct input *seeds;
static size_t nseeds;

/* The input being tried, for the handlers below. */
static struct input current;

/* ---- when it breaks ---- */

static void save_current(void)
{
	static const char words[] = "fuzz: the input that broke the target was saved to ";
	int fd = open(opt.save, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, current.data, current.size) < 0)
		return;
	close(fd);
	if (write(2, words, sizeof(words) - 1) < 0 || write(2, opt.save, strlen(opt.save)) < 0 ||
	    write(2, "\n", 1) < 0)
		return;
}

static void broke(int sig)
{
	static const char hang[] = "fuzz: this input takes too long\n";
	if (sig == SIGALRM && write(2, hang, sizeof(hang) - 1) < 0)
		_exit(1);
	save_current();
	signal(sig, SIG_DFL);
	raise(sig);
}

/* Present when built with a sanitizer, which ends the process its own way. */
__attribute__((weak)) void __sanitizer_set_death_callback(void (*fn)(void));

static void catch_breakage(void)
{
	static const int fatal[] = {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGALRM, SIGSYS};
	for (unsigned i = 0; i < sizeof(fatal) / sizeof(*fatal); i++)
		signal(fatal[i], broke);
	if (__sanitizer_set_death_callback)
		__sanitizer_set_death_callback(save_current);
}

/* ---- seeds ---- */

static void add_seed(const char *path)
{
	FILE *f = fopen(path, "rbe");
	struct input in = {malloc(opt.max_len + 1), 0};
	if (!f || !in.data) {
		fprintf(stderr, "fuzz: %s: %s\n", path, strerror(errno));
		exit(2);
	}
	in.size = fread(in.data, 1, opt.max_len, f);
	fclose(f);
	seeds = realloc(seeds, (nseeds + 1) * sizeof(*seeds));
	if (!seeds)
		exit(2);
	seeds[nseeds++] = in;
}

static void add_seeds(const char *path)
{
	struct stat st;
	struct dirent **list;
	if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode)) {
		add_seed(path);
		return;
	}
	int n = scandir(path, &list, NULL, alphasort); /* the same order everywhere */
	if (n < 0) {
		fprintf(stderr, "fuzz: %s: %s\n", path, strerror(errno));
		exit(2);
	}
	for (int i = 0; i < n; i++) {
		char file[4096];
		snprintf(file, sizeof(file), "%s/%s", path, list[i]->d_name);
		if (list[i]->d_name[0] != '.')
			add_seed(file);
		free(list[i]);
	}
	free(list);
}

/* ---- mutation ---- */

static uint64_t rnd_state;

static uint64_t rnd(void) /* xorshift64* */
{
	rnd_state ^= rnd_state >> 12;
	rnd_state ^= rnd_state << 25;
	rnd_state ^= rnd_state >> 27;
	return rnd_state * 0x2545F4914F6CDD1Dull;
}

static size_t below(size_t n)
{
	return n ? (size_t)(rnd() % n) : 0;
}

/* Values at which checks go wrong. */
static uint64_t edge(void)
{
	static const uint64_t edges[] = {
		0,          1,          2,         7,          8,          15,
		16,         255,        256,       4095,       4096,       4097,
		0x7FFF,     0x8000,     0xFFFF,    0x10000,    0x7FFFFFFF, 0x80000000,
		0xFFFFFFFF, 1ull << 32, INT64_MAX, 1ull << 63, UINT64_MAX,
	};
	uint64_t v = edges[below(sizeof(edges) / sizeof(*edges))];
	return rnd() & 1 ? v : v + below(5) - 2;
}

/* Moves the tail so that `n` bytes appear (or with n < 0 vanish) at `at`. */
static void make_room(struct input *in, size_t at, ptrdiff_t n)
{
	if (n < 0) {
		size_t cut = (size_t)-n < in->size - at ? (size_t)-n : in->size - at;
		memmove(in->data + at, in->data + at + cut, in->size - at - cut);
		in->size -= cut;
		return;
	}
	size_t add = (size_t)n < opt.max_len - in->size ? (size_t)n : opt.max_len - in->size;
	memmove(in->data + at + add, in->data + at, in->size - at);
	in->size += add;
	for (size_t i = 0; i < add; i++)
		in->data[at + i] = (uint8_t)rnd();
}

static void take_from_seed(struct input *in)
{
	if (!nseeds)
		return;
	const struct input *from = &seeds[below(nseeds)];
	size_t src = below(from->size), at = below(in->size + 1);
	size_t n = 1 + below(64);
	if (n > from->size - src)
		n = from->size - src;
	if (n > opt.max_len - at)
		n = opt.max_len - at;
	memcpy(in->data + at, from->data + src, n);
	if (at + n > in->size)
		in->size = at + n;
}

static void mutate_once(struct input *in)
{
	size_t at = below(in->size);
	unsigned width = 1u << below(4);
	uint64_t v;
	switch (in->size ? rnd() % 8 : 6) {
	case 0:
		in->data[at] ^= (uint8_t)(1u << below(8));
		break;
	case 1:
		in->data[at] = (uint8_t)rnd();
		break;
	case 2:
	case 3:
		v = edge();
		if (width <= in->size - at)
			memcpy(in->data + at, &v, width);
		break;
	case 4:
		in->data[at] = (uint8_t)(in->data[at] + below(9) - 4);
		break;
	case 5:
		make_room(in, at, -(ptrdiff_t)(1 + below(16)));
		break;
	case 6:
		make_room(in, at, (ptrdiff_t)(1 + below(rnd() % 8 ? 16 : 512)));
		break;
	default:
		take_from_seed(in);
	}
}

static void make_input(struct input *in)
{
	in->size = 0;
	if (nseeds && rnd() % 16) {
		const struct input *base = &seeds[below(nseeds)];
		memcpy(in->data, base->data, base->size);
		in->size = base->size;
	}
	for (size_t n = 1 + below(rnd() % 4 ? 4 : 32); n; n--)
		mutate_once(in);
}

/* ---- running ---- */

/* The target gets a copy of exactly the input's size, so that a sanitizer sees a step beyond. */
static void try_input(const struct input *in)
{
	uint8_t *copy = malloc(in->size ? in->size : 1);
	if (!copy)
		exit(2);
	memcpy(copy, in->data, in->size);
	current = *in;
	alarm(opt.limit);
	fuzz_one(copy, in->size);
	alarm(0);
	free(copy);
}

static void usage(void)
{
	fputs("usage: [--runs N] [--seconds N] [--seed N] [--max-len N] [--limit N] "
	      "[--save FILE] [SEEDS...]\n",
	      stderr);
	exit(2);
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{"runs", required_argument, NULL, 'r'},
		{"seconds", required_argument, NULL, 's'},
		{"seed", required_argument, NULL, 'e'},
		{"max-len", required_argument, NULL, 'm'},
		{"limit", required_argument, NULL, 'l'},
		{"save", required_argument, NULL, 'o'},
		{NULL, 0, NULL, 0},
	};
	int c;
	opt.runs = 20000;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		uint64_t n = optarg ? strtoull(optarg, NULL, 0) : 0;
		if (c == 'r')
			opt.runs = n;
		else if (c == 's')
			opt.seconds = (unsigned)n;
		else if (c == 'e')
			opt.seed = n;
		else if (c == 'm')
			opt.max_len = n;
		else if (c == 'l')
			opt.limit = (unsigned)n;
		else if (c == 'o')
			opt.save = optarg;
		else
			usage();
	}
	if (getenv("BULKHEAD_LONG"))
		opt.runs *= 100;
	for (int i = optind; i < argc; i++)
		add_seeds(argv[i]);
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	catch_breakage();
	rnd_state = opt.seed * 0x9E3779B97F4A7C15ull | 1;
	for (size_t i = 0; i < nseeds; i++)
		try_input(&seeds[i]);
	struct input in = {malloc(opt.max_len + 1), 0};
	if (!in.data)
		return 2;
	uint64_t done = 0;
	time_t end = time(NULL) + opt.seconds;
	for (; opt.seconds ? time(NULL) < end : done < opt.runs; done++) {
		make_input(&in);
		try_input(&in);
	}
	printf("fuzz: %zu seeds and %llu mutations, seed %llu\n", nseeds, (unsigned long long)done,
	       (unsigned long long)opt.seed);
	fuzz_report();
	return 0;
}
#endif
