#include "polybench.h"
#include <math.h>

const size_t output_bytes[] = {sizeof(double[W][H]), 0};
const size_t temporary_bytes[] = {sizeof(double[W][H]), sizeof(double[W][H]), 0};

void kernel(void **inputs, void **outputs, void **temporaries) {
    const double alpha = *(double *)inputs[0];
    double (*in)[H] = inputs[1];
    double (*out)[H] = outputs[0];
    double (*y1)[H] = temporaries[0], (*y2)[H] = temporaries[1];
    const double k = (1.0 - exp(-alpha)) * (1.0 - exp(-alpha)) / (1.0 + 2.0 * alpha * exp(-alpha) - exp(2.0 * alpha));
    const double a1 = k, a5 = k, a2 = k * exp(-alpha) * (alpha - 1.0), a6 = a2, a3 = k * exp(-alpha) * (alpha + 1.0);
    const double a7 = a3, a4 = -k * exp(-2.0 * alpha), a8 = a4, b1 = pow(2.0, -alpha), b2 = -exp(-2.0 * alpha);
    const double c1 = 1.0, c2 = 1.0;
    for (int i = 0; i < W; i++) {
        double ym1 = 0.0, ym2 = 0.0, xm1 = 0.0;
        for (int j = 0; j < H; j++) {
            y1[i][j] = a1 * in[i][j] + a2 * xm1 + b1 * ym1 + b2 * ym2;
            xm1 = in[i][j];
            ym2 = ym1;
            ym1 = y1[i][j];
        }
    }
    for (int i = 0; i < W; i++) {
        double yp1 = 0.0, yp2 = 0.0, xp1 = 0.0, xp2 = 0.0;
        for (int j = H - 1; j >= 0; j--) {
            y2[i][j] = a3 * xp1 + a4 * xp2 + b1 * yp1 + b2 * yp2;
            xp2 = xp1;
            xp1 = in[i][j];
            yp2 = yp1;
            yp1 = y2[i][j];
        }
    }
    for (int i = 0; i < W; i++)
        for (int j = 0; j < H; j++)
            out[i][j] = c1 * (y1[i][j] + y2[i][j]);
    for (int j = 0; j < H; j++) {
        double tm1 = 0.0, ym1 = 0.0, ym2 = 0.0;
        for (int i = 0; i < W; i++) {
            y1[i][j] = a5 * out[i][j] + a6 * tm1 + b1 * ym1 + b2 * ym2;
            tm1 = out[i][j];
            ym2 = ym1;
            ym1 = y1[i][j];
        }
    }
    for (int j = 0; j < H; j++) {
        double tp1 = 0.0, tp2 = 0.0, yp1 = 0.0, yp2 = 0.0;
        for (int i = W - 1; i >= 0; i--) {
            y2[i][j] = a7 * tp1 + a8 * tp2 + b1 * yp1 + b2 * yp2;
            tp2 = tp1;
            tp1 = out[i][j];
            yp2 = yp1;
            yp1 = y2[i][j];
        }
    }
    for (int i = 0; i < W; i++)
        for (int j = 0; j < H; j++)
            out[i][j] = c2 * (y1[i][j] + y2[i][j]);
}
