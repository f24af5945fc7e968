"""tree.py - the file-name grammar of a native tree (format-data-backup 1, format-clog-archive 3) and finding files by it."""
import os
import re
from typing import NamedTuple

ID = r'(?:0|[1-9]\d*)'
SET_DIR = re.compile(r'backup_set_(%s)_(full|inc)_(\d{8})\Z' % ID)
ROUND_DIR = re.compile(r'(%s)(?:_(%s)_(\d{8}))?\Z' % (ID, ID))
TMP = re.compile(r'\.tmp\.\d+')

# path below <cluster>/<id>/incarnation_1 -> kind; group names become fields of Name
_GRAMMAR = [
    ('tenant_name_info', r'tenant_name_info'),
    ('tenant_info', r'tenant_info'),
    ('backup_info', r'cluster_data_backup_info'),
    ('set_list', r'cluster_backup_set_file_info'),
    ('set_copy_list', r'cluster_backup_backup_set_file_info'),
    ('clog_info', r'cluster_clog_backup_info'),
    ('piece_list', r'cluster_backup_piece_info'),
    ('piece_copy_list', r'cluster_backup_backup_piece_info'),
    ('server_start', r'clog_info/(?P<server>\d+_[0-9.]+_\d+)'),
    ('mount_file', r'1/clog/(?P<round>{id})/mount_file'),
    ('piece', r'(?P<tenant>{id})/clog/(?P<dir>{id}(?:_{id}_\d{{8}})?)/single_piece_info'),
    ('clog_info', r'(?P<tenant>{id})/clog/tenant_clog_backup_info'),
    ('piece_list', r'(?P<tenant>{id})/clog/backup_piece_info'),
    ('piece_copy_list', r'(?P<tenant>{id})/clog/backup_backup_piece_info'),
    ('archive_key', r'(?P<tenant>{id})/clog/(?P<dir>{id}(?:_{id}_\d{{8}})?)/archive_key/(?P<table>{id})_(?P<part>{id})'),
    ('archive_index', r'(?P<tenant>{id})/clog/(?P<dir>{id}(?:_{id}_\d{{8}})?)/index/(?P<table>{id})/(?P<part>{id})/(?P<file>[1-9]\d*)'),
    ('archive_data', r'(?P<tenant>{id})/clog/(?P<dir>{id}(?:_{id}_\d{{8}})?)/data/(?P<table>{id})/(?P<part>{id})/(?P<file>[1-9]\d*)'),
    ('backup_info', r'(?P<tenant>{id})/data/tenant_data_backup_info'),
    ('set_list', r'(?P<tenant>{id})/data/tenant_backup_set_file_info'),
    ('set_copy_list', r'(?P<tenant>{id})/data/tenant_backup_backup_set_file_info'),
    ('single_set', r'{set}/single_backup_set_info'),
    ('set_info', r'{set}/backup_set_info'),
    ('sys_pg_list', r'{set}/backup_(?P<inc>{id})/sys_pg_list'),
    ('normal_pg_list', r'{set}/backup_(?P<inc>{id})/normal_pg_list'),
    ('locality', r'{set}/backup_(?P<inc>{id})/tenant_locality_info'),
    ('diagnose', r'{set}/backup_(?P<inc>{id})/tenant_diagnose_info'),
    ('meta_file', r'{set}/backup_(?P<inc>{id})/meta_file_(?P<task>{id})'),
    ('meta_index', r'{set}/backup_(?P<inc>{id})/meta_index_file_(?P<task>{id})'),
    ('merged_index', r'{set}/backup_(?P<inc>{id})/meta_index_file'),
    ('macro_data', r'{set}/data/(?P<table>{id})/(?P<part>{id})/(?:major_data|minor_data/(?P<task>{id}))/macro_block_(?P<inc>{id})\.(?P<sub>{id})'),
    ('macro_index', r'{set}/data/(?P<table>{id})/(?P<part>{id})/(?:major_data|minor_data/(?P<task>{id}))/macro_block_index_(?P<inc>{id})(?:\.(?P<retry>[1-9]\d*))?'),
]
_SET = r'(?P<tenant>{id})/data/(?P<set>backup_set_(?P<set_id>{id})_(?P<type>full|inc)_(?P<date>\d{{8}}))'
GRAMMAR = [(k, re.compile(p.replace('{set}', _SET).format(id=ID) + r'\Z')) for k, p in _GRAMMAR]


class Name(NamedTuple):
    path: str
    kind: str
    fields: dict


def classify(path):
    """Path below the incarnation directory -> Name, or None when no rule names it."""
    for kind, rule in GRAMMAR:
        m = rule.match(path)
        if m:
            return Name(path, kind, {k: v for k, v in m.groupdict().items() if v is not None})
    return None


def walk(top):
    """All files and empty directories under top: yields (path below top, is_directory), sorted."""
    for base, dirs, files in os.walk(top):
        dirs.sort()
        rel = os.path.relpath(base, top)
        rel = '' if rel == '.' else rel + '/'
        if not dirs and not files and rel:
            yield rel[:-1], True
        for f in sorted(files):
            yield rel + f, False


def find_clusters(root):
    """<cluster>/<id>/incarnation_1 directories of a root -> [(name, id, path)]."""
    out = []
    for name in sorted(os.listdir(root)):
        top = os.path.join(root, name)
        if name.startswith('.') or not os.path.isdir(top):
            continue
        for cluster_id in sorted(os.listdir(top)):
            path = os.path.join(top, cluster_id, 'incarnation_1')
            if cluster_id.isdigit() and os.path.isdir(path):
                out.append((name, int(cluster_id), path))
    return out


def numbered(path):
    """Decimal file ids of a directory, ascending; other names are ignored as OceanBase's listing does."""
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        return []
    return sorted(int(n) for n in names if n.isdigit() and n.isascii() and (n == '0' or n[0] != '0'))


def uri_path(uri):
    """file:///dir?... -> /dir without trailing slashes; None when it is no file URI."""
    if not uri.startswith('file://'):
        return None
    return uri[7:].split('?', 1)[0].rstrip('/') or '/'


def read(path):
    with open(path, 'rb') as f:
        return f.read()
