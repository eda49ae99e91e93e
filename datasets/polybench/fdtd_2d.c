#include "polybench.h"
#include <string.h>

const size_t output_bytes[] = {sizeof(double[NX][NY]), sizeof(double[NX][NY]), sizeof(double[NX][NY]), 0};
const size_t temporary_bytes[] = {0};

void kernel(void **inputs, void **outputs, void **temporaries) {
    double (*ex)[NY] = outputs[0], (*ey)[NY] = outputs[1], (*hz)[NY] = outputs[2];
    double *source = inputs[3];
    memcpy(ex, inputs[0], sizeof(double[NX][NY]));
    memcpy(ey, inputs[1], sizeof(double[NX][NY]));
    memcpy(hz, inputs[2], sizeof(double[NX][NY]));
    for (int t = 0; t < TMAX; t++) {
        for (int j = 0; j < NY; j++)
            ey[0][j] = source[t];
        for (int i = 1; i < NX; i++)
            for (int j = 0; j < NY; j++)
                ey[i][j] = ey[i][j] - 0.5 * (hz[i][j] - hz[i - 1][j]);
        for (int i = 0; i < NX; i++)
            for (int j = 1; j < NY; j++)
                ex[i][j] = ex[i][j] - 0.5 * (hz[i][j] - hz[i][j - 1]);
        for (int i = 0; i < NX - 1; i++)
            for (int j = 0; j < NY - 1; j++)
                hz[i][j] = hz[i][j] - 0.7 * (ex[i][j + 1] - ex[i][j] + ey[i + 1][j] - ey[i][j]);
    }
}
