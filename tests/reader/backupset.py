"""backupset.py - one backup set on media (compatible 3 and 4), opened the way OceanBase's restore opens it."""
import os

import media as M
import records as R
from errors import OB_ENTRY_NOT_EXIST, OB_ERR_UNEXPECTED, OB_NOT_SUPPORTED, ObError
from obcodec import PKey
from tree import SET_DIR, TMP, read

MAJOR, MINOR = 'major', 'minor'


def load(path, get, *args):
    """Reads one file and parses it with get(bytes, *args); every ObError learns the path."""
    try:
        buf = read(path)
    except FileNotFoundError as e:
        raise ObError(OB_ENTRY_NOT_EXIST, 'no such file', path) from e
    try:
        return get(buf, *args)
    except ObError as e:
        raise e.at(path)


def single_set_info(path, note=M.no_note):
    """single_backup_set_info of a SET directory: exactly one entry."""
    name = os.path.join(path, 'single_backup_set_info')
    infos = load(name, M.get_info, M.TYPE_SET_FILES, R.SET_FILE_INFOS, note)
    if infos is None or len(infos['items']) != 1:
        raise ObError(OB_ERR_UNEXPECTED, 'not exactly one entry', name)
    return infos['items'][0]


class BackupSet:
    """A SET directory; nothing is read before it is asked for."""

    def __init__(self, path, info=None):
        self.path = path
        m = SET_DIR.match(os.path.basename(path))
        if not m:
            raise ObError(OB_ERR_UNEXPECTED, 'not the name of a backup set', path)
        self.set_id, self.type, self.date = int(m[1]), m[2], int(m[3])
        self.info = info or single_set_info(path)
        if self.info['compatible'] not in (3, 4):
            raise ObError(OB_NOT_SUPPORTED, 'compatible %d' % self.info['compatible'], path)
        self.inc = os.path.join(path, 'backup_%d' % self.set_id)
        self._metas = {}

    def pg_list(self, name, note=M.no_note):
        v = load(os.path.join(self.inc, name), M.get_info, M.TYPE_PG_LIST, R.PG_LIST, note)
        return v['items'] if v else []

    def locality(self, note=M.no_note):
        path = os.path.join(self.inc, 'tenant_locality_info')
        v = load(path, M.get_info, M.TYPE_LOCALITY, R.LOCALITY, note)
        if v is None or not all(v['info'].get(n) for n in ('tenant_name', 'locality', 'primary_zone')):
            raise ObError(OB_ERR_UNEXPECTED, 'locality info lacks a name, locality or primary zone', path)
        return v['info']

    def meta_index(self):
        """(table_id, partition_id) -> type-4 entry; only the merged file counts when it is there."""
        merged = os.path.join(self.inc, 'meta_index_file')
        if os.path.exists(merged):
            names = ['meta_index_file']
        else:
            names = sorted(n for n in os.listdir(self.inc) if n.startswith('meta_index_file') and not TMP.search(n))
        if not names:
            raise ObError(OB_ENTRY_NOT_EXIST, 'no meta_index_file', self.inc)
        out = {}
        for n in names:
            for e in load(os.path.join(self.inc, n), M.get_meta_index, n == 'meta_index_file'):
                if e['meta_type'] == M.PG_META_INFO:
                    out[e['table_id'], e['partition_id']] = e
        return out

    def pg_meta(self, entry, note=M.no_note):
        path = os.path.join(self.inc, 'meta_file_%d' % entry['task_id'])
        try:
            with open(path, 'rb') as f:
                f.seek(entry['offset'])
                record = f.read(entry['data_length'])
        except FileNotFoundError as e:
            raise ObError(OB_ENTRY_NOT_EXIST, 'no such file', path) from e
        if len(record) != entry['data_length']:
            raise ObError(OB_ERR_UNEXPECTED, 'record runs over the end', path, entry['offset'])
        try:
            return M.get_pg_meta(record, note)
        except ObError as e:
            e.offset = entry['offset'] + (e.offset or 0)
            raise e.at(path)

    def side(self, table_type):
        """Where the blocks of an sstable lie; trans sstables moved from the majors (V3) to the minors (V4)."""
        if table_type == R.TYPE_MAJOR or table_type == R.TYPE_TRANS and self.info['compatible'] == 3:
            return MAJOR
        return MINOR

    def pg_dir(self, pkey):
        return os.path.join(self.path, 'data', str(pkey.table_id), str(pkey.partition_id))

    def side_dir(self, pkey, side, task_id):
        return os.path.join(self.pg_dir(pkey), 'major_data' if side == MAJOR else 'minor_data/%d' % task_id)

    def macro_index(self, pkey, side, task_id, note_at=None):
        """All retries of one directory; retry 0 must exist. note_at(path) gives the note of each file."""
        base = os.path.join(self.side_dir(pkey, side, task_id), 'macro_block_index_%d' % self.set_id)
        index, retry = M.MacroIndex(), 0
        while True:
            path = base + ('.%d' % retry if retry else '')
            if not os.path.exists(path):
                break
            load(path, index.add, note_at(path) if note_at else M.no_note)
            retry += 1
        if retry == 0:
            raise ObError(OB_ERR_UNEXPECTED, 'no macro_block_index_%d: last file not complete' % self.set_id,
                          os.path.dirname(base))
        return index

    def block_path(self, sets, pkey, side, task_id, entry):
        """File that holds the block of an index entry; majors may lie in an older set of the chain."""
        home = self
        if side == MAJOR and entry['backup_set_id'] != self.set_id:
            home = sets.get(entry['backup_set_id'])
            if home is None:
                raise ObError(OB_ERR_UNEXPECTED, 'block lies in set %d, which is not given' % entry['backup_set_id'],
                              self.side_dir(pkey, side, task_id))
        return os.path.join(home.side_dir(pkey, side, task_id),
                            'macro_block_%d.%d' % (entry['backup_set_id'], entry['sub_task_id']))


def read_block(path, entry):
    """The macro block of an index entry -> (meta bytes, data view)."""
    try:
        with open(path, 'rb') as f:
            f.seek(entry['offset'])
            buf = f.read(entry['data_length'])
    except FileNotFoundError as e:
        raise ObError(OB_ENTRY_NOT_EXIST, 'no such file', path) from e
    if len(buf) != entry['data_length']:
        raise ObError(OB_ERR_UNEXPECTED, 'block runs over the end', path, entry['offset'])
    try:
        return M.get_macro_data(buf, base=entry['offset'])
    except ObError as e:
        e.offset = entry['offset'] + (e.offset or 0)
        raise e.at(path)


def index_key(pkey):
    """How the meta index names a PG."""
    return pkey.table_id, pkey.partition_id


def key_from_id(table_id, partition_id):
    """PKey of a 64-bit partition id, as ObPartitionKey::init(table, partition, 0) makes it."""
    if partition_id >> 60 & 1 and partition_id >> 28 & 1:
        return PKey(table_id, partition_id >> 32, partition_id & 0xFFFFFFFF)
    return PKey(table_id, partition_id, 0)
