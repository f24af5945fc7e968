/* macroblock validation. Input: u16 LE length of the metas, the metas, the block. */
#include "format/ob/macroblock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const size_t meta_len = (size_t)data[0] | (size_t)data[1] << 8;
    if (meta_len > size - 2)
        return 0;
    obv_macro_meta m;
    obv_macro_schema s;
    if (obv_macro_full_meta_parse((obv_span){data + 2, meta_len}, &m, &s, NULL) != OBV_OK)
        return 0;
    const size_t n = size - 2 - meta_len;
    uint8_t *block = malloc(n ? n : 1);
    if (!block)
        return 0;
    memcpy(block, data + 2 + meta_len, n);
    m.occupy_size = (int32_t)n;
    (void)!obv_macro_block_check(&m, &s, (obv_span){block, n}, NULL);
    if (n >= 32) { /* once more without the checksum in front, so that the inner checks are reached */
        memset(block + 24, 0, 8);
        (void)!obv_macro_block_check(&m, &s, (obv_span){block, n}, NULL);
    }
    free(block);
    return 0;
}
