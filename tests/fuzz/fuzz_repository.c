/* repository.json as a storage gives it: what is read must be, byte for byte, the text that its values make */
#include "host/repository.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    obv_repository r = {0};
    char prefix[256];
    if (obv_repository_parse((obv_span){data, size}, &r, NULL) != OBV_OK)
        return 0;
    obv_assert(strlen(r.uuid) == 36 && strlen(r.profile) < sizeof r.profile);
    obv_assert(strlen(r.cluster_name) < sizeof r.cluster_name);
    (void)!obv_repository_prefix(r.cluster_name, r.cluster_id, prefix, sizeof prefix, NULL);
    return 0;
}
