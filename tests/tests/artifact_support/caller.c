/* Calls a kernel through its header, every way that must work and every way that must be refused,
 * and prints what came back; the test compares the text. */
#include HEADER
#include HEADER /* guarded */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static float alpha = 2.0f, a[35], sums[5], total;
static int64_t matrix[2] = {5, 7}, vector[1] = {5};

static DLTensor tensor(void *data, int32_t ndim, int64_t *shape) {
  DLTensor made;
  memset(&made, 0, sizeof made);
  made.data = data;
  made.device.device_type = kDLCPU;
  made.ndim = ndim;
  made.dtype.code = kDLFloat;
  made.dtype.bits = 32;
  made.dtype.lanes = 1;
  made.shape = shape;
  return made;
}

static DLTensor t_alpha, t_a, t_sums, t_total;
static const DLTensor *inputs[2] = {&t_alpha, &t_a}, *outputs[2] = {&t_sums, &t_total};

static void reset(void) {
  t_alpha = tensor(&alpha, 0, NULL);
  t_a = tensor(a, 2, matrix);
  t_sums = tensor(sums, 1, vector);
  t_total = tensor(&total, 0, NULL);
}

static void report(const char *what, int32_t status) {
  printf("%s: %d (argument %d) %s\n", what, MOAT_STATUS_CODE(status), MOAT_STATUS_ARGUMENT(status),
         row_sums_status_message(status));
  reset();
}

static int32_t call(void) { return row_sums_checked(inputs, outputs, NULL, 0); }

int main(void) {
  for (int i = 0; i < 35; i++) a[i] = (float)i;
  reset();

  const void *raw_inputs[2] = {&alpha, a};
  void *raw_outputs[2] = {sums, &total};
  void *workspace = aligned_alloc(64, (row_sums_workspace_bytes() + 63) / 64 * 64);
  printf("raw: %d\n", (int)row_sums_raw(raw_inputs, raw_outputs, workspace));
  for (int i = 0; i < 5; i++) printf("%g ", sums[i]);
  printf("%g\n", total);

  memset(sums, 0, sizeof sums);
  total = 0;
  report("checked", call());
  for (int i = 0; i < 5; i++) printf("%g ", sums[i]);
  printf("%g\n", total);
  report("own workspace", row_sums_checked(inputs, outputs, workspace, row_sums_workspace_bytes()));
  report("small workspace", row_sums_checked(inputs, outputs, workspace, row_sums_workspace_bytes() - 1));
  report("crooked workspace", row_sums_checked(inputs, outputs, (char *)workspace + 4, 1 << 20));
  printf("supported: %d\n", (int)row_sums_cpu_supported());

  int64_t packed[2] = {7, 1}, gaps[2] = {8, 1}, transposed[2] = {1, 5}, wide[3] = {5, 7, 1}, other[2] = {7, 5};
  t_a.strides = packed;
  report("strides", call());
  t_a.strides = gaps;
  report("gaps", call());
  t_a.strides = transposed;
  report("transposed", call());
  t_a = tensor(a, 3, wide);
  report("rank", call());
  t_a = tensor(a, 2, other);
  report("shape", call());
  t_a.dtype.bits = 64;
  report("bits", call());
  t_a.dtype.code = kDLInt;
  report("code", call());
  t_a.dtype.lanes = 2;
  report("lanes", call());
  t_a.device.device_type = 2;
  report("device", call());
  t_a.data = NULL;
  report("data", call());
  t_a.shape = NULL;
  report("no shape", call());
  t_a.data = (char *)a + 2;
  report("alignment", call());
  t_a.data = (char *)a - 64;
  t_a.byte_offset = 64;
  report("offset", call());
  t_sums.data = &a[30];
  report("output in input", call());
  t_total.data = &sums[4];
  report("output in output", call());
  t_sums.data = &alpha;
  report("output on scalar", call());
  inputs[1] = NULL;
  report("no tensor", call());
  inputs[1] = &t_a;
  report("no inputs", row_sums_checked(NULL, outputs, NULL, 0));
  report("no outputs", row_sums_checked(inputs, NULL, NULL, 0));
  printf("unknown: %s\n", row_sums_status_message(200));
  free(workspace);
  return 0;
}
