"""Golden files made by OceanBase's own code: they parse to the manifest's values, and what OceanBase rejects we reject."""
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import archive as A  # noqa: E402
import macroblock as B  # noqa: E402
import media as M  # noqa: E402
import obcodec as O  # noqa: E402
import records as R  # noqa: E402
from check_files import INFO  # noqa: E402
from errors import ObError  # noqa: E402
from golden import need, number  # noqa: E402

# Flips that OceanBase accepts. Ours too, except those that the strict side reports as findings: bytes 4, 5 (data_version)
# and 12..15 (C padding) of the common header, the reserved bytes of the meta header, padding bytes, the data_version of a
# macro block's common header, block data checksums and trailing offsets of the archive.


def rc_of(call, *args):
    try:
        call(*args)
        return 0
    except ObError as e:
        return e.rc


def flipped(buf, at, xor=1):
    out = bytearray(buf)
    out[at] ^= xor
    return bytes(out)


class Vectors(unittest.TestCase):
    def test_objects_encode_and_decode_to_the_same_bytes(self):
        specs = {'ObVersion(': R.VERSION, 'ObVersionRange(': R.VERSION_RANGE, 'ObLogTsRange(': R.LOG_TS_RANGE,
                 'TableKey': R.TABLE_KEY, 'ObBackupTableKeyInfo': R.TABLE_KEY_INFO, 'ObBackupTableMacroIndex': R.MACRO_INDEX,
                 'ObBackupMetaIndex': R.META_INDEX, 'ObAddr': R.ADDR, 'ObMember ': R.MEMBER,
                 'ObExternBackupInfo': R.BACKUP_INFO, 'ObExternBackupSetInfo': R.BACKUP_SET_INFO,
                 'ObBackupSetFileInfo': R.SET_FILE_INFO, 'ObExternTenantInfo': R.TENANT_INFO,
                 'ObExternTenantLocalityInfo': R.LOCALITY_INFO, 'ObTenantNameMeta': R.TENANT_NAME_META,
                 'ObTenantIdItem': R.TENANT_ID_ITEM, 'ObTenantNameInfo': R.TENANT_NAME_INFO, 'ObExternPGList': R.PG_LIST,
                 'ObPGPartitionStoreMeta': R.PARTITION_META, 'ObSavedStorageInfoV2': R.STORAGE_INFO,
                 'ObPartitionGroupMeta': R.PG_META, 'ObSSTableBaseMeta': R.SSTABLE_META, 'ObBackupPGMetaInfo': R.BACKUP_PG_META}
        seen = 0
        for line in need(self, 'data_backup_object_vectors.txt').decode().splitlines():
            raw = bytes.fromhex(line.split()[-1])
            for name, spec in specs.items():
                if line.startswith(name):
                    v = spec.decode(raw)
                    self.assertEqual(spec.put(v), raw, line[:40])
                    self.assertEqual(spec.missing(v), [], line[:40])
                    seen += 1
        self.assertEqual(seen, 23)

    def test_macro_meta_vectors(self):
        lines = need(self, 'data_backup_object_vectors.txt').decode().splitlines()
        meta, schema = (bytes.fromhex(x.split()[-1]) for x in lines if x.startswith(('ObMacroBlockMetaV2', 'ObMacroBlockSchema')))
        m, s = B.get_full_meta(meta + schema)
        self.assertEqual((m['row_count'], m['occupy_size'], m['data_seq'], m['column_checksum']), (10, 5000, 65536, (7, 8)))
        self.assertEqual((s['compressor'], s['ids']), (b'zstd_1.3.8', (16, 17)))

    def test_storage_vectors(self):
        specs = {s.name: s for s in vars(R).values() if isinstance(s, O.Struct)}
        count = 0
        for v in json.loads(need(self, 'storage_manifest.json'))['vectors']:
            spec = specs.get(v['type'].split()[0])
            if spec is None:
                continue  # ObBackupSStableMacroIndex, never on media
            raw = bytes.fromhex(v['hex'])
            d = spec.decode(raw)
            self.assertEqual(spec.put(d), raw, v['type'])
            for name, want in v['fields'].items() if isinstance(v['fields'], dict) else ():
                if isinstance(want, int) and name in d and not isinstance(d[name], dict):
                    self.assertEqual(d[name], want, '%s.%s' % (v['type'], name))
            count += 1
        self.assertEqual(count, 13)

    def test_checksums(self):
        for v in json.loads(need(self, 'checksum_vectors.json'))['vectors']:
            if 'hex' not in v:
                continue
            for x in v['by_init']:
                init = int(x['init'], 16)
                if init >> 32 == 0:
                    self.assertEqual(O.crc64(bytes.fromhex(v['hex']), init), int(x['ob_crc64'], 16), v['desc'])

    def test_key_hash_and_key_words(self):
        self.assertEqual(O.pkey_hash(1099511677777, 0, 0), 0x17f210d2443aa81e)
        self.assertEqual(O.pkey_hash(1100611139453777, 3, 16), 0x7aa738ea0a2abc74)
        for v in json.loads(need(self, 'serialization_vectors.json'))['partition_key_hash']:
            k, _ = O.KINDS['pkey'][0](bytes.fromhex(v['serialized_hex']), 0, 16)
            self.assertEqual(O.pkey_hash(*k), int(v['hash'], 16))
            if v['init_rc'] == 0 and v['is_valid']:
                self.assertEqual((k.partition_id, k.tenant_id), (v['get_partition_id'], v['tenant_id']))

    def test_decode_errors(self):
        for v in json.loads(need(self, 'serialization_vectors.json'))['errors']:
            if v['op'].startswith('decode_vi64') and 'hex' in v:
                raw = bytes.fromhex(v['hex'])
                self.assertEqual(rc_of(O.get_varint, raw, 0, len(raw)), v['rc'])


class InfoFiles(unittest.TestCase):
    KIND = {'extern_tenant_backup_info.bin': 'backup_info', 'extern_backup_set_info.bin': 'set_info',
            'extern_normal_pg_list.bin': 'normal_pg_list', 'extern_sys_pg_list.bin': 'sys_pg_list',
            'extern_tenant_info.bin': 'tenant_info', 'extern_tenant_locality_info.bin': 'locality',
            'extern_backup_set_file_info.bin': 'set_list', 'extern_single_backup_set_info.bin': 'single_set',
            'extern_tenant_clog_backup_info.bin': 'clog_info', 'extern_tenant_clog_backup_piece_info.bin': 'piece_list',
            'extern_single_piece_info.bin': 'piece'}

    def reader(self, name):
        if name in self.KIND:
            data_type, spec, version = INFO[self.KIND[name]]
            return lambda buf, note=M.no_note: M.get_info(buf, data_type, spec, note, version)
        if name == 'extern_tenant_name_info.bin':
            return M.get_tenant_names
        return lambda buf, note=M.no_note: M.get_info_payload(buf, M.TYPE_DIAGNOSE, 0, note)

    def files(self):
        for f in json.loads(need(self, 'extern_info_manifest.json'))['files']:
            yield f, need(self, f['file']), self.reader(f['file'])

    def test_values(self):
        for f, buf, get in self.files():
            notes = []
            v = get(buf, lambda *a: notes.append(a))
            self.assertEqual(notes, [], f['file'])
            if f['file'] in self.KIND:
                self.assertEqual(self.plain(v), f['fields'], f['file'])
        names = M.get_tenant_names(need(self, 'extern_tenant_name_info.bin'))
        self.assertEqual(names[1][2], (b'tt1', [(1001, 1672531200000001), (1010, 1672531200000100)]))

    def plain(self, v):
        if isinstance(v, O.PKey):
            return {'table_id': v.table_id, 'partition_id': v.partition_id, 'part_cnt': v.assist}
        if isinstance(v, dict):
            inner = v.get('items', v.get('info'))
            return self.plain(inner) if inner is not None else {n: self.plain(x) for n, x in v.items()}
        if isinstance(v, list):
            return [self.plain(x) for x in v]
        return v.decode() if isinstance(v, bytes) else v

    def test_damage(self):
        for f, buf, get in self.files():
            for b in f['bad']:
                want = b['read_rc']
                if 'truncated_to' in b:
                    got = rc_of(get, buf[:b['truncated_to']])
                elif 'byte' in b:
                    got = rc_of(get, flipped(buf, b['byte']))
                else:
                    continue
                if isinstance(want, int):
                    self.assertEqual(got, want, (f['file'], b))
                else:
                    self.assertNotEqual(got, 0, (f['file'], b))

    def test_what_oceanbase_accepts_is_a_finding(self):
        buf = need(self, 'extern_backup_set_info.bin')
        for at in (4, 5, 12, 13, 14, 15):
            notes = []
            self.reader('extern_backup_set_info.bin')(flipped(buf, at), lambda *a: notes.append(a))
            self.assertTrue(notes, at)


class Media(unittest.TestCase):
    def setUp(self):
        self.m = json.loads(need(self, 'storage_manifest.json'))
        self.media = self.m['backup_media']

    def test_meta_file_and_index(self):
        index = M.get_meta_index(need(self, 'backup_meta_index_file_1.bin'), False)
        merged = M.get_meta_index(need(self, 'backup_meta_index_file.bin'), True)
        want = [{k: v for k, v in e.items() if k != 'hex'} for e in self.media['meta_index_file']['entries']]
        self.assertEqual(index, want)
        self.assertEqual(sorted(merged, key=str), sorted(want, key=str))
        buf = need(self, 'backup_meta_file_1.bin')
        first = index[0]
        notes = []
        v = M.get_pg_meta(buf[first['offset']:first['offset'] + first['data_length']], lambda *a: notes.append(a))
        self.assertEqual(v['pg_meta']['pg_key'], O.PKey(1100611139453781, 3))
        self.assertEqual(notes, [])
        for e in index[1:]:  # the older kinds of records: framing only
            M.get_meta_record(buf[e['offset']:e['offset'] + e['data_length']], e['meta_type'])
        self.assertEqual([p for p, _ in M.stream(buf, M.TYPE_META)], [0])

    def test_macro_index(self):
        x = M.MacroIndex()
        notes = []
        (t,) = x.add(need(self, 'backup_macro_block_index_1.bin'), lambda *a: notes.append(a))
        want = self.media['macro_index_file']
        self.assertEqual(t.total, want['total_macro_block_count'])
        self.assertEqual(t.entries, [{k: v for k, v in e.items() if k != 'hex'} for e in want['entries']])
        self.assertEqual(notes, [])
        v1 = [v for p, b in M.stream(need(self, 'backup_macro_block_index_v1.bin'), M.TYPE_MACRO_INDEX)
              for _, v in M.get_objects(b, R.MACRO_INDEX_V1, 0)]
        self.assertEqual(v1, [{k: v for k, v in e.items() if k != 'hex'} for e in self.media['macro_index_file_v1']['entries']])

    def test_macro_data(self):
        buf = need(self, 'backup_macro_block_1.0.bin')
        for e in self.media['macro_index_file']['entries']:
            notes = []
            raw, data = M.get_macro_data(buf[e['offset']:e['offset'] + e['data_length']], lambda *a: notes.append(a))
            meta, schema = B.get_full_meta(raw)
            B.check_block(data, meta, schema)
            self.assertEqual((meta['data_version'], meta['data_seq'], notes), (e['data_version'], e['data_seq'], []))

    def test_damage_that_the_readers_of_the_restore_saw(self):
        index, macro = need(self, 'backup_meta_index_file_1.bin'), need(self, 'backup_macro_block_1.0.bin')
        mindex, meta = need(self, 'backup_macro_block_index_1.bin'), need(self, 'backup_meta_file_1.bin')
        entries, first = self.media['macro_index_file']['entries'], self.media['meta_index_file']['entries'][0]

        def blocks(b):
            for e in entries:
                M.get_macro_data(b[e['offset']:e['offset'] + e['data_length']])
        use = {'meta_index_file_1': (index, lambda b: M.get_meta_index(b, False)),
               'macro_block_1.0': (macro, blocks),
               'macro_block_index_1': (mindex, lambda b: M.MacroIndex().add(b)),
               'meta_file_1': (meta, lambda b: M.get_pg_meta(b[first['offset']:first['offset'] + first['data_length']]))}
        for x in self.m['backup_media_read_back']['damaged']:
            buf, read = use[x['file']]
            got = rc_of(read, flipped(buf, x['offset']))
            self.assertEqual(got == 0, x['rc'] == 0, (x, got))
            if x['rc'] in (-4103, -4055) and 'length' not in x['flip']:
                self.assertEqual(got, x['rc'], x)

    def test_padding_and_reserved_bytes_are_findings(self):
        buf = need(self, 'backup_macro_block_index_1.bin')
        for at in (4, 12, 2000, 4101, 8000):
            notes = []
            M.MacroIndex().add(flipped(buf, at), lambda *a: notes.append(a))
            self.assertTrue(notes, at)


    def test_every_damaged_byte_of_a_meta_file(self):
        """OceanBase checks the block's header, then the record's own: one of them must refuse, in ours too."""
        buf = need(self, 'backup_meta_file_1.bin')
        first = self.media['meta_index_file']['entries'][0]

        def read(b):
            for _ in M.stream(b, M.TYPE_META):
                pass
            M.get_pg_meta(b[first['offset']:first['offset'] + first['data_length']])
        seen = 0
        for x in self.media['meta_file']['bad']:
            rcs = [v for k, v in x.items() if k.endswith('_rc')]
            accepted = all(v == 0 for v in rcs)
            got = rc_of(read, flipped(buf, x['byte'], x['xor']))
            self.assertEqual(got == 0, accepted, (x, got))
            seen += 1
        self.assertEqual(seen, 76)


class Macro(unittest.TestCase):
    def test_blocks_and_their_damage(self):
        for m in json.loads(need(self, 'storage_manifest.json'))['macro_blocks']:
            raw = need(self, m['file'])
            meta, schema = B.get_full_meta(bytes.fromhex(m['full_meta_entry_hex']))
            occupy = meta['occupy_size']
            block = B.check_block(raw[:occupy], meta, schema)
            self.assertEqual([x.length for x in block.micros], [x['data_size'] for x in m['micro_blocks']])
            for i, x in enumerate(block.micros):
                head = block.micro(i)[:28]
                self.assertEqual(int.from_bytes(head[24:28], 'little'), m['micro_blocks'][i]['row_count'])
            for x in m.get('bad', ()):
                got = rc_of(B.check_block, flipped(raw[:occupy + 64], x['offset'])[:occupy], meta, schema)
                want = x['macro_rc'], x['micro_rc'], x['auto_rc']
                if x['flip'] == 'common data_version':
                    self.assertEqual(want, (0, 0, 0))  # OceanBase rewrites it; a block of ours must be whole
                    self.assertNotEqual(got, 0)
                else:
                    self.assertIn(got, want, (m['file'], x))
                    self.assertEqual(got == 0, want == (0, 0, 0), (m['file'], x))

    def test_lob_blocks(self):
        d = json.loads(need(self, 'rpc/blocks_manifest.json'))
        for m in d['macro_blocks']:
            raw = need(self, 'rpc/' + m['file'])
            meta, schema = B.get_full_meta(bytes.fromhex(m['full_meta_entry_hex']))
            block = B.check_block(raw[:meta['occupy_size']], meta, schema)
            for i in range(len(block.micros)):
                block.micro(i)
            for x in m.get('bad', ()):
                if x['flip'].endswith('data_version'):
                    continue
                got = rc_of(B.check_block, flipped(raw, x['offset'])[:meta['occupy_size']], meta, schema)
                want = x['macro_rc'], x['micro_rc'], x['auto_rc']
                self.assertEqual(got == 0, want == (0, 0, 0), (m['file'], x, got))

    def test_media_of_two_pgs(self):
        index = M.get_meta_index(need(self, 'rpc/backup_pg_meta_index_file_1.bin'), False)
        buf = need(self, 'rpc/backup_pg_meta_file_1.bin')
        x = M.MacroIndex()
        x.add(need(self, 'rpc/backup_pg_macro_block_index_1.bin'))
        macro = need(self, 'rpc/backup_pg_macro_block_1.0.bin')
        count = 0
        for e in index:
            v = M.get_pg_meta(buf[e['offset']:e['offset'] + e['data_length']])
            for p in v['partitions']:
                for s in p['sstables']:
                    t = x.tables.get(R.TABLE_KEY.put(s['table_key']))
                    for i in t.entries if t else ():
                        raw, data = M.get_macro_data(macro[i['offset']:i['offset'] + i['data_length']])
                        B.check_block(data, *B.get_full_meta(raw))
                        count += 1
        self.assertEqual(count, 17)


class Archive(unittest.TestCase):
    def setUp(self):
        self.m = json.loads(need(self, 'archive_manifest.json'))

    def read(self, buf):
        return [e for b in A.get_blocks(buf) for e in A.get_entries(A.open_payload(b.payload)[0])]

    def test_data_files(self):
        for f in self.m['data_files']:
            buf = need(self, f['file'])
            blocks = list(A.get_blocks(buf, strict=True))
            for b, w in zip(blocks, f['blocks'], strict=True):
                self.assertEqual((b.offset, b.end), (w['offset'], w['block_end']))
                for k, v in w['meta'].items():
                    if not k.endswith('hex'):
                        self.assertEqual(getattr(b.meta, k), number(v), k)
            got = [(e.log_id, e.type, e.data_len, e.submit_ts, e.batch, e.is_trans) for e in self.read(buf)]
            self.assertEqual(got, [(e['log_id'], e['log_type'], e['data_len'], e['submit_ts'], e['batch_committed'],
                                    e['is_trans_log']) for e in f['entries']])
            self.assertEqual(b''.join(e.pack() for e in A.get_entries(A.open_payload(blocks[0].payload)[0])),
                             bytes(A.open_payload(blocks[0].payload)[0]))
        inner = R.KICKOFF_INNER.decode(bytes(self.read(need(self, 'archive_data_1.bin'))[0].data))
        for k, v in self.m['data_files'][0]['extract_first_log']['inner_log'].items():
            self.assertEqual(inner[k], v)

    def test_damage(self):
        bufs = {f['data_file_id']: need(self, f['file']) for f in self.m['data_files']}
        for x in self.m['bad_data_file']:
            buf = bufs[x['file']]
            at = x.get('byte', x.get('offset'))
            if 'chunk_header_byte' in x:
                at = A.META_LEN + x['chunk_header_byte']
            if at is None:
                cut = int(x['flip'].split()[2])
                self.assertEqual(len(self.read(buf[:-cut])), x['entries_read'], x)
                continue
            got = rc_of(self.read, flipped(buf, at, x.get('xor', 1)))
            self.assertEqual(got, 0 if x['iterator_rc'] == -4008 else x['iterator_rc'], x)

    def test_index(self):
        buf = need(self, 'archive_index_1.bin')
        for pos, w in zip(range(0, len(buf), A.INDEX_LEN), self.m['index_file']['records'], strict=True):
            r = A.get_index(buf, pos)
            self.assertTrue(r.valid)
            for k, v in w.items():
                if not k.endswith('hex'):
                    self.assertEqual(getattr(r, k), number(v), k)
            self.assertEqual(r.pack(), buf[pos:pos + A.INDEX_LEN])
        for x in self.m['index_file']['bad']:
            if 'truncated_by' in x:
                records = A.get_index_records(buf[:-x['truncated_by']])
                self.assertEqual(max(r.data_file_id for r in records), x['file_max_data_file_id'])
                continue
            records = A.get_index_records(flipped(buf, x['record'] * A.INDEX_LEN + x['byte'], x['xor']))
            self.assertEqual(len(records) == 3, x['check_integrity'], x)
            self.assertEqual(max(r.max_log_id for r in records if r.is_effective), x['file_max_log_id'], x)

    def test_every_damaged_byte_of_an_entry(self):
        """Entry 101 of the clog; but for the batch-commit bit and one byte whatever OceanBase takes is what ours takes."""
        m = json.loads(need(self, 'clog_manifest.json'))
        buf = need(self, 'clog_1.bin')
        (e,) = [e for e in m['entries'] if e['header']['log_id'] == 101]
        raw = buf[e['offset']:e['offset'] + e['serialized_len']]
        for x in m['bad_entry_single_byte_flips']['cases']:
            cut = raw[:x['truncated_to']] if 'truncated_to' in x else flipped(raw, x['byte'], x['xor'])
            taken = x['deserialize_rc'] == 0 and x['check_integrity'] if 'deserialize_rc' in x else x['check_integrity_ignore_batch_commit_flag']
            self.assertEqual(rc_of(A.get_entry, cut, 0) == 0, taken, x)

    def test_archive_keys_and_start_file(self):
        for f in self.m['archive_key_files']:
            buf = need(self, f['file'])
            k = A.get_archive_key(buf)
            self.assertEqual(k.pack(), buf)
            self.assertEqual((k.is_first_piece, k.max_index_file_id), (f['is_first_piece'], f['max_index_file_id']))
            for b in f['bad_byte_flips_check_integrity']:
                self.assertEqual(rc_of(A.get_archive_key, flipped(buf, b['byte'])) == 0, b['ok'], b)
        buf = need(self, 'archive_server_start_ts.bin')
        want = self.m['server_start_timestamp']
        self.assertEqual(A.get_server_start(buf), (want['archive_round'], want['timestamp']))
        for b in want['bad_byte_flips']:
            self.assertEqual(rc_of(A.get_server_start, flipped(buf, b['byte'])) == 0, b['ok'], b)


if __name__ == '__main__':
    unittest.main()
