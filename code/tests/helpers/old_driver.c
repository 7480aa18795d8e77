/* A machine whose NVIDIA driver has one GPU and offers CUDA 12.4: as much of libcuda and NVML as PyTorch asks
 * before it finds the driver too old. */
int cuInit(unsigned flags) { return (int)flags * 0; }
int cuDriverGetVersion(int *version) { return *version = 12040, 0; }
int cuDeviceGetCount(int *count) { return *count = 1, 0; }
int cuDeviceGet(int *device, int ordinal) { return *device = ordinal, 0; }

int nvmlInit(void) { return 0; }
int nvmlInit_v2(void) { return 0; }
int nvmlInitWithFlags(unsigned flags) { return (int)flags * 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount(unsigned *count) { return *count = 1, 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { return *count = 1, 0; }
