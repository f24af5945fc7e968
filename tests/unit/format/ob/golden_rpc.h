/* golden_rpc.h - what the sweeps over golden packets of the storage RPC share */
#ifndef OBV_TEST_GOLDEN_RPC_H
#define OBV_TEST_GOLDEN_RPC_H

#include "base/crc32c.h"
#include "golden.h"

/* Checksum and length of a packet whose payload was changed. */
static inline void set_checksum_and_length(uint8_t *packet, size_t len)
{
    const uint64_t crc = obv_crc64(0, (obv_span){packet + 176, len - 176});
    for (int i = 0; i < 8; i++)
        packet[16 + 8 + i] = (uint8_t)(crc >> (56 - 8 * i));
    for (int i = 0; i < 4; i++)
        packet[4 + i] = (uint8_t)((len - 16) >> (24 - 8 * i));
}

/* The damage that @p flip names, with a right checksum if @p fix_checksum. */
static inline void with_flip(obv_span good, json_t *flip, bool fix_checksum, uint8_t *copy)
{
    memcpy(copy, good.p, good.len);
    copy[golden_int(flip, "offset")] ^= (uint8_t)golden_int(flip, "xor");
    if (!fix_checksum)
        return;
    const uint64_t crc = obv_crc64(0, (obv_span){copy + 176, good.len - 176});
    for (int i = 0; i < 8; i++) /* the length stays: it may be what was damaged */
        copy[16 + 8 + i] = (uint8_t)(crc >> (56 - 8 * i));
}

/* True when a mutation's "result" says that OceanBase did not take it. */
static inline bool is_refusal(json_t *result)
{
    if (json_is_string(result))
        return strncmp(json_string_value(result), "accepted", 8) != 0;
    return json_integer_value(result) != 0;
}

#endif
