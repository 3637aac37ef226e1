/* How many multiply-adds a second does one core do, if nothing but them is to be done?
 *
 *     cc -O3 -march=native -ffp-contract=fast -o fma benchmarks/fma.c && ./fma
 *
 * Prints billions a second: the fastest of 20 rounds. Twelve sums of 16 floats each keep both
 * units of a core busy through the latency of either; the compiler splits them to the
 * machine's width.
 */
#include <stdio.h>
#include <time.h>

typedef float lanes __attribute__((vector_size(64)));

enum { SUMS = 12, TURNS = 5000000, ROUNDS = 20 };

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec + 1e-9 * now.tv_nsec;
}

int main(void) {
    double best = 0;
    float told = 0;
    for (int round = 0; round < ROUNDS; round++) {
        lanes sums[SUMS], factor = {0}, term = {0};
        factor += 0.999f;
        term += 1e-6f * (float)(round + 1);
        for (int i = 0; i < SUMS; i++) sums[i] = term * (float)i;
        double started = seconds();
        for (int turn = 0; turn < TURNS; turn++)
            for (int i = 0; i < SUMS; i++) sums[i] = sums[i] * factor + term;
        double rate = 16e-9 * SUMS * TURNS / (seconds() - started);
        if (rate > best) best = rate;
        for (int i = 0; i < SUMS; i++) told += sums[i][0];
    }
    fprintf(stderr, "%g\n", told);
    printf("%.1f\n", best);
    return 0;
}
